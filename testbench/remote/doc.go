// Package remote holds the daemon against those who command it from afar: hostile commands, crashes in the middle of
// commands and of changes of the configuration, and configurations that do not work. The real binary takes what comes
// through a real broker, and the simulated devices' record of writes is the witness. It has no code besides its tests.
//
//	go test ./testbench/remote -v                          # the matrix, a few rounds of each crash
//	go test ./testbench/remote -v -run Kill -rounds 200    # many
//
// It promises to sign commands by itself, so that a wrong token of the code under test does not agree with itself.
package remote
