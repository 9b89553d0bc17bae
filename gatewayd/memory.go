package main

import (
	"os"
	"runtime/debug"
)

// tuneMemory keeps the heap small: a gateway has 256 MB and other things to do with it. GOGC and GOMEMLIMIT, where
// they are set, are the operator's word.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(96 << 20)
	}
}
