package config

import (
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/profile"
	"edgegateway/adapters/profile/strict"
)

// Config is a whole configuration, defaults filled in: the file and its drop-ins, with profiles resolved.
type Config struct {
	Files     []string // what was read, in order
	Gateway   Gateway
	Platforms []Platform // [platform] first, then each [[also]]; empty when no [platform] is given
	Buffer    Buffer
	Web       Web
	Systemd   Systemd
	Update    Update
	Operators []Operator
	Lines     []Line             // only those that can run
	Devices   []Device           // only those that can run
	Faulty    []Device           // those with faults of their own: they cannot run, but binding them finds the rest of what is wrong
	Profiles  []*profile.Profile // every one that is known, in the order of their names

	main   string                     // the main file
	tables map[tableKey]*strict.Table // where everything stands, for Locate
}

// Gateway is [gateway].
type Gateway struct {
	Name  string
	Site  string
	Clock string // what makes the clock good enough for commands: ClockAuto, ClockKernel, ClockTrusted
}

// What [gateway] clock can be.
const (
	ClockAuto    = "auto"    // the kernel's word, or that this is a container: its clock is the host's
	ClockKernel  = "kernel"  // the kernel's word alone
	ClockTrusted = "trusted" // always: the installer's word, where a good clock has no NTP
)

// Platform is [platform] or one [[also]].
type Platform struct {
	Name          string // of the destination: "platform" for the first; the books are kept by it
	Dialect       string
	Servers       []string // tried in turn: "mqtt://host:1883", "mqtts://host:8883"
	Client        string   // MQTT client id
	Prefix        string
	Username      string
	Secret        string // name of a file in the credentials folder
	CA            string // names of PEM files in the credentials folder (or absolute paths)
	Cert          string
	Key           string
	Identity      bool // the provisioned certificate stands for Cert and Key, and its authority for CA
	UnsignedVerbs []string
	KeepAlive     time.Duration
	Options       map[string]string // keys of one dialect: group, primary_host, …
}

// Buffer is [buffer].
type Buffer struct {
	Limit        int64         // bytes of flash, never exceeded
	Keep         time.Duration // age limit of readings
	KeepEvents   time.Duration // of events
	KeepReplies  time.Duration
	Thin         []time.Duration // steps that old readings are reduced to before any is given up; rising
	Commit       time.Duration   // deadline of readings; 1 s by default
	CommitEvents time.Duration   // how long events and replies wait to share a commit; 10 ms by default
	DurableFirst bool            // everything is durable before it leaves
}

// Web is [web].
type Web struct{ Listen string } // "" for no local page

// Systemd is [systemd].
type Systemd struct {
	Units []string // those that may be looked at and restarted from afar: "bluetooth.service"
}

// Update is [update].
type Update struct {
	Budget int64 // bytes that one update may take from the network, all attempts together
}

// Operator is one [[operator]]: who may command this gateway.
type Operator struct {
	Name  string
	Key   []byte // Ed25519 public key, 32 bytes
	Verbs []string
	Level string // observe, operate, configure or admin: no verb above it, whatever Verbs says
}

// Line is one [[line]]: exactly one of Port, Host and Radio is set.
type Line struct {
	Name    string
	Port    string // a serial port
	Mode    string // "9600 8N1"
	RS485   bool   // the driver switches the transmitter by the kernel's RS-485 mode
	Host    string // "192.0.2.20:502"
	Framing string // of Modbus: "tcp", "rtu" or "ascii" for a host, "rtu" or "ascii" for a port; "raw" for other protocols
	Radio   string // "hci0"
	Scan    string // of a radio: ScanPassive or ScanActive
	// RestartService says that bluetoothd may be restarted when nothing else wakes the radio.
	RestartService bool
	Timeout        time.Duration
}

// Deadband is how far a value must move before it is sent again under only_changes.
type Deadband struct {
	Absolute float64 // in the tag's unit; 0 when Percent is set
	Percent  float64 // of the last value sent
}

// Device is one [[device]], its tags resolved from its profile and from its [[tag]] entries.
type Device struct {
	field.Device
	Every       time.Duration
	Slow        time.Duration       // period of the slow group
	SilentAfter time.Duration       // of a device that speaks unasked
	OnlyChanges map[string]Deadband // tag → deadband; "" is the rule for every other tag, and without it they are always sent; nil when all is sent
	Heartbeat   time.Duration       // under only_changes, an unchanged value is sent this often all the same
	Writable    []string
	Password    string // name of a file in the credentials folder: what the device asks for before a write
}

// Rest is the configuration without lines, devices and operators, and of the platforms only the names: what a running
// daemon cannot change. Two of them can be compared.
func (c *Config) Rest() Config {
	rest := *c
	rest.Files, rest.Operators, rest.Lines, rest.Devices, rest.Faulty, rest.Profiles = nil, nil, nil, nil, nil, nil
	rest.main, rest.tables = "", nil
	rest.Platforms = make([]Platform, len(c.Platforms))
	for i, p := range c.Platforms {
		rest.Platforms[i].Name = p.Name
	}
	return rest
}

// On lists the devices of a line, those with faults apart.
func (c *Config) On(line string) []Device {
	var devices []Device
	for _, d := range c.Devices {
		if d.Line == line {
			devices = append(devices, d)
		}
	}
	return devices
}
