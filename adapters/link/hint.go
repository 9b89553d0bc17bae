package link

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// serialHint is what an installer should do about a port that could not be opened.
func serialHint(port string, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "is the adapter plugged in, and the name right? " + portsHere("/dev")
	case errors.Is(err, fs.ErrPermission):
		return permissionHint(port)
	case errors.Is(err, errLocked), errors.Is(err, unix.EBUSY):
		return fmt.Sprintf("stop it, or give this line another port: `sudo fuser -v %s` names it; a login console is stopped by `sudo systemctl disable --now serial-getty@%s`", port, filepath.Base(port))
	case errors.Is(err, errNotTTY):
		return "name the device of a port, such as /dev/ttyS1 or /dev/serial/by-id/…; " + portsHere("/dev")
	case errors.Is(err, errNoRS485):
		return "remove rs485 from the line when its adapter switches the direction by itself, as USB adapters do; else use a port whose driver can"
	case errors.Is(err, errBaud):
		return "set the line's mode to a rate that the port can do"
	case errors.Is(err, unix.EIO), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return "the device file is there, but no hardware behind it; " + portsHere("/dev")
	}
	return ""
}

// permissionHint names the group that may use the port, as the device node has it.
func permissionHint(port string) string {
	info, err := os.Stat(port)
	if err != nil {
		return "this user may not look into the folder of the port"
	}
	name := "this user"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	group := "dialout"
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		group = strconv.FormatUint(uint64(st.Gid), 10)
		if g, err := user.LookupGroupId(group); err == nil {
			group = g.Name
		}
	}
	if group == "root" || info.Mode().Perm()&0o060 != 0o060 {
		return fmt.Sprintf("%s belongs to group %s with mode %v, so nobody but root may use it: install the package's udev rule, which gives serial ports to group dialout", port, group, info.Mode().Perm())
	}
	return fmt.Sprintf("%s belongs to group %s: `sudo usermod -aG %s %s`, then restart the service; the package's udev rule and unit do both", port, group, group, name)
}

// portsHere names what could be meant, by the names that survive a replugging where there are any.
func portsHere(dev string) string {
	var found []string
	for _, pattern := range []string{"serial/by-id/*", "serial/by-path/*", "ttyUSB*", "ttyACM*", "ttyAMA*", "ttymxc*", "ttyS[0-9]"} {
		names, _ := filepath.Glob(filepath.Join(dev, pattern)) // the patterns are right
		found = append(found, names...)
		if len(found) >= 4 {
			found = found[:4]
			break
		}
	}
	if len(found) == 0 {
		return "this box has no serial port now"
	}
	return "here are " + strings.Join(found, ", ")
}
