package systemd

import "strings"

// Folders are where the daemon's things are kept.
type Folders struct {
	Configuration string // gatewayd.toml, conf.d, profiles
	State         string // what outlives a boot
	Runtime       string // the control socket
	Credentials   string // secrets, one file each
}

// FoldersFrom gives the folders that the service manager made for this unit (systemd.exec(5), StateDirectory= and its
// like), and the unit's own names for them when the daemon was started by hand. Of several the first is meant.
func FoldersFrom(getenv func(string) string) Folders {
	pick := func(variable, otherwise string) string {
		if first, _, _ := strings.Cut(getenv(variable), ":"); first != "" {
			return first
		}
		return otherwise
	}
	return Folders{
		Configuration: pick("CONFIGURATION_DIRECTORY", "/etc/gatewayd"),
		State:         pick("STATE_DIRECTORY", "/var/lib/gatewayd"),
		Runtime:       pick("RUNTIME_DIRECTORY", "/run/gatewayd"),
		Credentials:   pick("CREDENTIALS_DIRECTORY", "/etc/gatewayd/credentials"),
	}
}
