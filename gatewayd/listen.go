package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"edgegateway/systemd"
)

// listenControl opens the control socket. A socket left behind by a daemon that is no more is replaced; one that
// answers belongs to a running daemon.
func listenControl(path string) (net.Listener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("another gatewayd is running: it answers at %s\n    hint: stop that one, or give this one a --runtime folder of its own", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// pageSocket is the name of the port that gatewayd.socket holds for the page.
const pageSocket = "page"

// listenPage opens the page's port, unless systemd holds ports for it: those are served then, whatever is configured.
func listenPage(address string, log *slog.Logger) ([]net.Listener, error) {
	held, err := systemd.Listeners(pageSocket)
	if err != nil || held != nil {
		if held != nil && address != "" {
			log.Info("systemd holds the page's port, and [web] listen is not used", "listen", address, "served", held[0].Addr())
		}
		return held, err
	}
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return []net.Listener{l}, nil
}
