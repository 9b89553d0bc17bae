package main

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestWhoMayNotSpeakToTheDaemonIsToldSo(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{syscall.EACCES: "use sudo", syscall.ENOENT: "is gatewayd running?"} {
		err := &unreachableError{"/run/gatewayd/control.sock", &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", errno)}}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: no %q in %s", errno, want, err)
		}
	}
}
