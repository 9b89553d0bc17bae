package systemd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// firstSocket is the number of the first descriptor that the service manager hands over, sd_listen_fds(3).
const firstSocket = 3

// sockets is how many descriptors the manager handed to this process.
func sockets() int {
	if pid, err := strconv.Atoi(os.Getenv("LISTEN_PID")); err != nil || pid != os.Getpid() {
		return 0
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// Listeners gives the listening sockets that a socket unit holds under FileDescriptorName=name: one for each address that
// it names; nil when there is none. The manager's own descriptors stay open, so closing a listener turns nobody away: who
// connects waits for the next one. Programs that this process starts do not inherit them.
func Listeners(name string) ([]net.Listener, error) {
	var held []net.Listener
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for i := range min(sockets(), len(names)) {
		if names[i] != name {
			continue
		}
		l, err := listener(firstSocket+i, name)
		if err != nil {
			for _, other := range held {
				other.Close()
			}
			return nil, fmt.Errorf("the socket %q that systemd handed over: %w", name, err)
		}
		held = append(held, l)
	}
	return held, nil
}

func listener(fd int, name string) (net.Listener, error) {
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(copied), name)
	defer f.Close()
	return net.FileListener(f)
}

// KeepSockets lets the manager's sockets outlive the exec by which a daemon starts itself anew; call it just before.
func KeepSockets() error {
	for i := range sockets() {
		if _, err := unix.FcntlInt(uintptr(firstSocket+i), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("keep the socket %d that systemd handed over: %w", i, err)
		}
	}
	return nil
}
