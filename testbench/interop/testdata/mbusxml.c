// Reads telegrams in hexadecimal, one a line, and prints what libmbus makes of each as XML with values in base units.
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include "mbus-protocol.h"
#include "mbus-protocol-aux.h"

int main(void) {
	static char line[4096];
	unsigned char bytes[2048];
	while (fgets(line, sizeof line, stdin)) {
		mbus_frame frame;
		mbus_frame_data data;
		size_t n = mbus_hex2bin(bytes, sizeof bytes, (unsigned char *)line, strlen(line));
		memset(&frame, 0, sizeof frame);
		memset(&data, 0, sizeof data);
		if (mbus_parse(&frame, bytes, n) != 0 || mbus_frame_data_parse(&frame, &data) != 0) {
			printf("<Refused/>\n");
			continue;
		}
		char *xml = mbus_frame_data_xml_normalized(&data);
		printf("%s\n", xml ? xml : "<Refused/>");
		free(xml);
		if (data.data_var.record) mbus_data_record_free(data.data_var.record);
	}
	return 0;
}
