// Package scenarios holds the daemon against faults: each .txtar file here is one. The real binary polls simulated
// devices behind real sockets and a pty, sends over a link that can be cut, delayed and swallowed to a real broker, and
// a consumer at the far end keeps the books. It has no code besides its tests.
//
//	go test ./testbench/scenarios                      # some quick ones
//	go test ./testbench/scenarios -v -full             # all of them, some minutes
//	go test ./testbench/scenarios -full -run /outage-  # some of them
//
// It promises that a scenario leaves no process, port, pty or file behind, also when it fails; that a failed one prints
// the daemon's log, its last status and the consumer's books; and that no scenario waits for a time to pass where it
// could wait for what it needs. A reader may not assume that two runs meet the same moment: where a fault falls is left
// to chance, and what must hold holds at any.
//
// Which broker: mosquitto where it is installed, the embedded one else, with -embedded, and where a script says so. The
// log of each scenario says which it was.
//
// # Words of a script
//
// Beside testscript's own, such as exec (gatewayd is on the path, and finds its folders):
//
//	plant                            a substation on three lines, and a witness that counts its reads
//	pair                             devices of several protocols on one pair of wires, each in a mode of its own
//	mixed                            eight devices of three protocols on one pair of wires, as slow as real ones
//	occupancy LINE PERCENT           what the line was busy in the last minute is this near to the forecast
//	misses DURATION DEVICE…          for so long, and meanwhile none of these misses a period
//	units NAME tcp|rtu COUNT [K=V]   units 1…COUNT behind one address, with values that prove whose they are;
//	                                 every, timeout, baud
//	line NAME cut|restore|reset|…    faults of the network before plc, converter, or units; as for wan
//	unplug, replug                   the serial port
//	unit SERVER ID silent|answers    a unit of plc, rs485, converter or units
//	unit SERVER ID set TABLE ADDRESS VALUE…
//	unit SERVER ID wrote TABLE ADDRESS VALUE…     its last write was this
//	disturb SERVER KIND CHANCE [DELAY]            a fault of sim/modbus, for every request
//	broker [embedded|tls] [NAME] [prefix=P] [down]
//	broker kill|stop|start|forget|mute|swallow|heal [NAME]
//	certificate renew|move|trust     the client's anew; the broker's from another authority; that one trusted
//	wan cut|restore|reset|blackhole|freeze|half-close up|half-close down [NAME], wan delay|bandwidth UP DOWN [NAME]
//	gateway start [LIMIT]            ready, that is: the control socket answers, within LIMIT of the process's start
//	gateway stop [LIMIT]|kill        SIGTERM, done within LIMIT (5 s); kill -9
//	gateway kills MIN MAX            -kills times: let it run so long, kill -9, start
//	await [LIMIT] CONDITION…         see conditions below; LIMIT is 60 s
//	within LIMIT CONDITION…          the same, counted from the last fault that was switched on or off
//	for DURATION                     lets a fault last
//	mark                             stands for a fault where something is counted from the last one
//	settle                           the field is switched off; all that was taken arrives
//	books [skips] [losses]           see referee_test.go: nothing is lost but what the words allow, and said so
//	intervals, live, proofs, came    see referee_test.go
//
// Conditions: connected, disconnected, backlog N, drained, records N (that many more), polls N, backfill (since the
// last restoration), device NAME STATE…, line NAME up|down, event KIND SUBJECT, change SUBJECT VALUE, value DEVICE TAG
// VALUE, state online|offline, trouble TEXT, renewed. Most take a platform's name at the end.
package scenarios
