"""Asks a slave, unit 7, with pymodbus: "pymodbus_client.py tcp PORT" or "… rtu|ascii DEVICE". Prints one line for each
question: what it was, and the answer."""
import sys

from pymodbus.client import ModbusSerialClient, ModbusTcpClient
from pymodbus.mei_message import ReadDeviceInformationRequest
from pymodbus.other_message import ReportSlaveIdRequest
from pymodbus.register_read_message import ReadWriteMultipleRegistersRequest
from pymodbus.register_write_message import MaskWriteRegisterRequest
from pymodbus.transaction import ModbusAsciiFramer, ModbusRtuFramer

kind, where = sys.argv[1:3]
if kind == "tcp":
    client = ModbusTcpClient("127.0.0.1", port=int(where), timeout=10)
else:
    framer = {"rtu": ModbusRtuFramer, "ascii": ModbusAsciiFramer}[kind]
    client = ModbusSerialClient(where, framer=framer, baudrate=115200, timeout=10)
assert client.connect()
print("holdings", client.read_holding_registers(10, 3, slave=7).registers)
print("inputs", client.read_input_registers(20, 1, slave=7).registers)
print("coils", client.read_coils(0, 4, slave=7).bits[:4])
print("hole", client.read_holding_registers(50, 1, slave=7).exception_code)
print("write", client.write_registers(71, [10, 11], slave=7).isError())


def ask(request):
    request.unit_id = 7  # this version does not take it as an argument everywhere
    return client.execute(request)


print("both", ask(ReadWriteMultipleRegistersRequest(read_address=10, read_count=2, write_address=73, write_registers=[5])).registers)
print("mask", ask(MaskWriteRegisterRequest(address=4, and_mask=0xF2, or_mask=0x25)).isError())
print("masked", client.read_holding_registers(4, 1, slave=7).registers)
identity = ask(ReadDeviceInformationRequest(read_code=1, object_id=0))
print("identity", [v.decode() for _, v in sorted(identity.information.items())])
print("server", ask(ReportSlaveIdRequest()).identifier[:5].decode())
client.close()
