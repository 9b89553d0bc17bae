package ble

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/godbus/dbus/v5"
)

// Faults are what may be wrong with the fake. The zero value is all well.
type Faults struct {
	Quiet       bool // nobody is heard, whatever is sent, until one of the repairs below
	RepairedBy  string
	NoMonitors  bool // an old BlueZ: there is no AdvertisementMonitorManager1
	Silent      bool // monitors are registered, and never activated
	Released    bool // monitors are activated, and let go of at once
	InProgress  int  // so many StartDiscovery are refused with InProgress
	Blocked     bool // rfkill: the adapter cannot be switched on
	NoRestart   bool // systemd refuses to restart bluetoothd
	LateConnect bool // connections are made, and end at once
	NoConnect   bool // connections fail
}

// The repairs of a quiet radio, for Faults.RepairedBy: a new scan, the adapter off and on, bluetoothd restarted.
const (
	ByScan    = "scan"
	ByAdapter = "adapter"
	ByService = "service"
)

type vardict = map[string]dbus.Variant

// BlueZ is the fake. Its methods are safe for concurrent use.
type BlueZ struct {
	bus  string
	Path dbus.ObjectPath // of the adapter

	turn sync.Mutex // held while a connection begins or ends: what is told of it comes in order

	mu       sync.Mutex
	conn     *dbus.Conn // nil while bluetoothd is stopped
	systemd  *dbus.Conn
	faults   Faults
	plugged  bool
	powered  bool
	discover bool
	seeker   string // who began to discover
	monitor  string // who registered one; "" for nobody
	root     dbus.ObjectPath
	agent    string
	devices  map[string]*Device // by address
	calls    map[string]int     // by method
	sent     int                // advertisements that went out
	removed  []string
}

// New starts the fake on a bus, with an adapter "hci0" that is switched off, as after a boot.
func New(bus string) (*BlueZ, error) {
	b := &BlueZ{bus: bus, Path: "/org/bluez/hci0", plugged: true, devices: map[string]*Device{}, calls: map[string]int{}}
	conn, err := dbus.Connect(bus)
	if err != nil {
		return nil, err
	}
	b.systemd = conn
	if err := conn.Export(manager{b}, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"); err != nil {
		return nil, err
	}
	if _, err := conn.RequestName("org.freedesktop.systemd1", 0); err != nil {
		return nil, err
	}
	return b, b.Start()
}

// Start starts bluetoothd: the adapter is off, and nothing is remembered but paired devices.
func (b *BlueZ) Start() error {
	conn, err := dbus.Connect(b.bus)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.conn, b.powered, b.discover, b.monitor, b.agent = conn, false, false, "", ""
	if b.faults.RepairedBy == ByService {
		b.faults.Quiet = false
	}
	for _, d := range b.devices {
		d.exists, d.connected = d.paired, false
		for _, c := range d.chars {
			c.notifying = false
		}
	}
	b.mu.Unlock()
	if err := b.watch(conn); err != nil {
		return err
	}
	for path, exports := range map[dbus.ObjectPath]map[string]any{
		"/":          {"org.freedesktop.DBus.ObjectManager": tree{b}},
		"/org/bluez": {"org.bluez.AgentManager1": agents{b}},
		b.Path:       {"org.bluez.Adapter1": adapter{b}, "org.bluez.AdvertisementMonitorManager1": adverts{b}, "org.freedesktop.DBus.Properties": props{b}},
	} {
		for name, v := range exports {
			if err := conn.Export(v, path, name); err != nil {
				return err
			}
		}
	}
	for _, d := range b.Devices() {
		if err := d.export(conn); err != nil {
			return err
		}
	}
	reply, err := conn.RequestName("org.bluez", dbus.NameFlagDoNotQueue)
	if err == nil && reply != dbus.RequestNameReplyPrimaryOwner {
		err = errors.New("somebody else is org.bluez")
	}
	return err
}

// watch ends what a client asked for when it leaves the bus, until the connection ends.
func (b *BlueZ) watch(conn *dbus.Conn) error {
	if err := conn.AddMatchSignal(dbus.WithMatchInterface("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged")); err != nil {
		return err
	}
	signals := make(chan *dbus.Signal, 64)
	conn.Signal(signals)
	go func() {
		for s := range signals { // closed with the connection
			if len(s.Body) != 3 || s.Body[2] != "" {
				continue
			}
			b.mu.Lock()
			if b.monitor == s.Body[0] {
				b.monitor = ""
			}
			seeker := b.discover && b.seeker == s.Body[0]
			b.mu.Unlock()
			if seeker {
				b.EndDiscovery()
			}
		}
	}()
	return nil
}

// Stop ends bluetoothd.
func (b *BlueZ) Stop() {
	b.mu.Lock()
	conn := b.conn
	b.conn = nil
	b.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
	}
}

// Restart ends bluetoothd and starts it.
func (b *BlueZ) Restart() error {
	b.Stop()
	return b.Start()
}

// Close ends the fake.
func (b *BlueZ) Close() {
	b.Stop()
	_ = b.systemd.Close()
}

// Set changes the faults.
func (b *BlueZ) Set(f Faults) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = f
}

// Calls counts the calls of a method so far: "StartDiscovery".
func (b *BlueZ) Calls(method string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls[method]
}

func (b *BlueZ) called(method string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls[method]++
}

// Sent counts the advertisements that went out on the bus so far.
func (b *BlueZ) Sent() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent
}

// Removed lists the addresses of devices that somebody had BlueZ forget.
func (b *BlueZ) Removed() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.removed)
}

// Listening says whether anybody scans: passively or by discovery.
func (b *BlueZ) Listening() (passive, active bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.monitor != "", b.discover
}

// Powered says whether the adapter is on.
func (b *BlueZ) Powered() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.powered
}

// Unplug takes the adapter away; Plug gives it back.
func (b *BlueZ) Unplug() error {
	b.mu.Lock()
	b.plugged, b.powered, b.discover, b.monitor = false, false, false, ""
	for _, d := range b.devices {
		d.exists, d.connected = false, false
	}
	b.mu.Unlock()
	return b.emit("/", "org.freedesktop.DBus.ObjectManager.InterfacesRemoved", b.Path, []string{"org.bluez.Adapter1", "org.freedesktop.DBus.Properties"})
}

// Plug puts the adapter in, switched off.
func (b *BlueZ) Plug() error {
	b.mu.Lock()
	b.plugged = true
	properties := b.adapterLocked()
	b.mu.Unlock()
	return b.emit("/", "org.freedesktop.DBus.ObjectManager.InterfacesAdded", b.Path, map[string]vardict{"org.bluez.Adapter1": properties})
}

// Block is rfkill: the adapter goes off and stays off until Unblock.
func (b *BlueZ) Block() error {
	b.mu.Lock()
	b.faults.Blocked = true
	b.mu.Unlock()
	return b.power(false)
}

// Unblock lets the adapter be switched on again; it does not do so.
func (b *BlueZ) Unblock() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults.Blocked = false
}

func (b *BlueZ) power(on bool) error {
	b.mu.Lock()
	b.powered = on
	if !on {
		b.discover, b.monitor = false, ""
	}
	if on && b.faults.RepairedBy == ByAdapter {
		b.faults.Quiet = false
	}
	b.mu.Unlock()
	return b.changed(b.Path, "org.bluez.Adapter1", vardict{"Powered": dbus.MakeVariant(on)})
}

// emit sends a signal; while bluetoothd is stopped nobody does.
func (b *BlueZ) emit(path dbus.ObjectPath, name string, values ...any) error {
	b.mu.Lock()
	conn := b.conn
	b.mu.Unlock()
	if conn == nil {
		return nil
	}
	return conn.Emit(path, name, values...)
}

// changed tells of properties.
func (b *BlueZ) changed(path dbus.ObjectPath, kind string, p any) error {
	return b.emit(path, "org.freedesktop.DBus.Properties.PropertiesChanged", kind, p, []string{})
}

// Odd sends a signal in the adapter's name with a body of the caller's: what BlueZ never should.
func (b *BlueZ) Odd(path dbus.ObjectPath, name string, values ...any) error {
	return b.emit(path, name, values...)
}

func (b *BlueZ) adapterLocked() vardict {
	return vardict{
		"Address": dbus.MakeVariant("00:1A:7D:DA:71:13"), "Powered": dbus.MakeVariant(b.powered),
		"Discovering": dbus.MakeVariant(b.discover), "Name": dbus.MakeVariant("fake"),
	}
}

// blueError makes an error in BlueZ's name.
func blueError(name, text string) *dbus.Error {
	return dbus.NewError("org.bluez.Error."+name, []any{text})
}

// tree is the ObjectManager.
type tree struct{ b *BlueZ }

// GetManagedObjects gives everything that exists.
func (t tree) GetManagedObjects() (map[dbus.ObjectPath]map[string]vardict, *dbus.Error) {
	b := t.b
	b.called("GetManagedObjects")
	b.mu.Lock()
	defer b.mu.Unlock()
	all := map[dbus.ObjectPath]map[string]vardict{"/org/bluez": {"org.bluez.AgentManager1": {}}}
	if b.plugged {
		all[b.Path] = map[string]vardict{"org.bluez.Adapter1": b.adapterLocked()}
		if !b.faults.NoMonitors {
			all[b.Path]["org.bluez.AdvertisementMonitorManager1"] = vardict{"SupportedMonitorTypes": dbus.MakeVariant([]string{"or_patterns"})}
		}
	}
	for _, d := range b.devices {
		if d.exists {
			maps.Copy(all, d.objectsLocked())
		}
	}
	return all, nil
}

// adapter is Adapter1.
type adapter struct{ b *BlueZ }

// SetDiscoveryFilter implements org.bluez.Adapter1.
func (a adapter) SetDiscoveryFilter(vardict) *dbus.Error {
	a.b.called("SetDiscoveryFilter")
	return nil
}

// StartDiscovery implements org.bluez.Adapter1.
func (a adapter) StartDiscovery(sender dbus.Sender) *dbus.Error {
	b := a.b
	b.called("StartDiscovery")
	b.mu.Lock()
	switch {
	case !b.powered:
		b.mu.Unlock()
		return blueError("NotReady", "Resource Not Ready")
	case b.faults.InProgress > 0:
		b.faults.InProgress--
		fallthrough
	case b.discover:
		b.mu.Unlock()
		return blueError("InProgress", "Operation already in progress")
	}
	b.discover, b.seeker = true, string(sender)
	if b.faults.RepairedBy == ByScan && b.calls["StartDiscovery"] > 1 {
		b.faults.Quiet = false
	}
	b.mu.Unlock()
	_ = b.changed(b.Path, "org.bluez.Adapter1", vardict{"Discovering": dbus.MakeVariant(true)}) // the bus is there, or the test fails elsewhere
	return nil
}

// StopDiscovery implements org.bluez.Adapter1.
func (a adapter) StopDiscovery() *dbus.Error {
	b := a.b
	b.called("StopDiscovery")
	b.mu.Lock()
	was := b.discover
	b.discover = false
	b.mu.Unlock()
	if !was {
		return blueError("Failed", "No discovery started")
	}
	_ = b.changed(b.Path, "org.bluez.Adapter1", vardict{"Discovering": dbus.MakeVariant(false)})
	return nil
}

// EndDiscovery ends it for a reason of BlueZ's own.
func (b *BlueZ) EndDiscovery() { _ = adapter{b}.StopDiscovery() }

// RemoveDevice implements org.bluez.Adapter1.
func (a adapter) RemoveDevice(path dbus.ObjectPath) *dbus.Error {
	b := a.b
	b.called("RemoveDevice")
	address := strings.ReplaceAll(strings.TrimPrefix(string(path), string(b.Path)+"/dev_"), "_", ":")
	b.mu.Lock()
	d := b.devices[address]
	b.removed = append(b.removed, address)
	b.mu.Unlock()
	if d == nil {
		return blueError("DoesNotExist", "Does Not Exist")
	}
	_ = d.Vanish()
	return nil
}
