"""A Modbus slave on pymodbus, unit 7: "pymodbus_server.py tcp PORT" or "… rtu|ascii DEVICE". Prints "ready" when it is
about to serve. It holds what server.c holds, and an identity."""
import asyncio
import sys

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.device import ModbusDeviceIdentification
from pymodbus.server.async_io import StartAsyncSerialServer, StartAsyncTcpServer
from pymodbus.transaction import ModbusAsciiFramer, ModbusRtuFramer, ModbusSocketFramer


async def serve(kind, where):
    registers = [i * 257 + 1 for i in range(100)]
    holdings = registers.copy()
    holdings[20:22] = 0x4366, 0x4000
    bits = [i % 3 == 0 for i in range(100)]
    block = ModbusSequentialDataBlock
    slave = ModbusSlaveContext(di=block(0, bits.copy()), co=block(0, bits), hr=block(0, holdings), ir=block(0, registers),
                               zero_mode=True)
    context = ModbusServerContext(slaves={7: slave}, single=False)
    identity = ModbusDeviceIdentification(info={0: "Pymodbus", 1: "PM", 2: "3.0", 5: "Simulator"})
    if kind == "tcp":
        server = await StartAsyncTcpServer(context=context, identity=identity, framer=ModbusSocketFramer,
                                           address=("127.0.0.1", int(where)), allow_reuse_address=True, defer_start=True)
    else:
        framer = {"rtu": ModbusRtuFramer, "ascii": ModbusAsciiFramer}[kind]
        server = await StartAsyncSerialServer(context=context, identity=identity, framer=framer, port=where, baudrate=115200,
                                              timeout=1, defer_start=True)
        await server.start()
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(serve(*sys.argv[1:3]))
