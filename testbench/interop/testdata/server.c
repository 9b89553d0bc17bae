/* A Modbus slave on libmodbus, unit 7: "server tcp PORT" or "server rtu DEVICE". Prints "ready" when it serves.
 * Holding registers and input registers hold address * 257 + 1, every third coil is on, holding 20 and 21 are 230.25
 * as a float32, high word first. It serves until it is killed. */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
	int tcp = argc == 3 && strcmp(argv[1], "tcp") == 0;
	if (argc != 3) {
		fprintf(stderr, "usage: server tcp PORT | server rtu DEVICE\n");
		return 2;
	}
	modbus_t *m = tcp ? modbus_new_tcp("127.0.0.1", atoi(argv[2])) : modbus_new_rtu(argv[2], 115200, 'N', 8, 1);
	modbus_mapping_t *map = modbus_mapping_new(100, 100, 100, 100);
	if (m == NULL || map == NULL)
		return 1;
	for (int i = 0; i < 100; i++) {
		map->tab_registers[i] = map->tab_input_registers[i] = i * 257 + 1;
		map->tab_bits[i] = map->tab_input_bits[i] = i % 3 == 0;
	}
	map->tab_registers[20] = 0x4366;
	map->tab_registers[21] = 0x4000;
	modbus_set_slave(m, 7);
	int listener = tcp ? modbus_tcp_listen(m, 1) : modbus_connect(m);
	if (listener == -1) {
		fprintf(stderr, "server: %s\n", modbus_strerror(errno));
		return 1;
	}
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		if (tcp && modbus_tcp_accept(m, &listener) == -1)
			return 1;
		for (;;) {
			int n = modbus_receive(m, query);
			if (n > 0)
				modbus_reply(m, query, n, map);
			else if (n == -1 && tcp)
				break;
		}
		modbus_close(m);
	}
}
