// Package peripheral is a Bluetooth device that a real bluetoothd plays: it advertises and serves characteristics through
// one controller, so that a gateway can find, read and subscribe to it through another one. With two virtual controllers
// all of that runs in a guest without any radio:
//
//	go test -c -o ble.test ./adapters/ble                    # outside, for the guest's architecture (CGO_ENABLED=0)
//	systemctl start bluetooth                                # in the guest, as root; packages bluez, bluez-test-tools, dbus
//	modprobe hci_vhci
//	btvirt -L -l2 &                                          # two controllers, hci0 and hci1
//	until busctl tree --list org.bluez | grep -q hci1; do sleep 1; done
//	./ble.test -test.v -test.run TestRealBluetoothd -real hci0,hci1
//
// TestBluetooth of testbench/appliance does just that. The exit code says whether it went well; a first connection may
// take half a minute on an emulated machine, and on one that is busy the kernel may give up a controller while it sets
// it up: ask btvirt for four, and take two of those that bluetoothd shows. Virtual
// controllers know no signal strength, and tell of an advertisement only when a scan begins, so that nothing of
// advertisements is tested there.
//
// It promises that what it exports is gone with Close. A caller may not assume that the controller is as it was: it is
// switched on, and stays so.
package peripheral

import (
	"fmt"
	"slices"
	"sync"

	"github.com/godbus/dbus/v5"
)

// The characteristics that a Peripheral serves.
const (
	EnvironmentalSensing = "0000181a-0000-1000-8000-00805f9b34fb"
	Temperature          = "00002a6e-0000-1000-8000-00805f9b34fb" // can be read and subscribed to
	Settings             = "6a1e0001-0d5c-4b9a-9d2b-9f2a5b1c7e10"
	Setpoint             = "6a1e0002-0d5c-4b9a-9d2b-9f2a5b1c7e10" // can be read and written
)

const (
	root       = dbus.ObjectPath("/gatewayd/peer")
	advertPath = root + "/advert"
	charIf     = "org.bluez.GattCharacteristic1"
	serviceIf  = "org.bluez.GattService1"
	advertIf   = "org.bluez.LEAdvertisement1"
)

type vardict = map[string]dbus.Variant

// Peripheral is such a device.
type Peripheral struct {
	conn    *dbus.Conn
	address string
	chars   map[dbus.ObjectPath]*char
}

// char implements org.bluez.GattCharacteristic1.
type char struct {
	p             *Peripheral
	path, service dbus.ObjectPath
	uuid          string
	flags         []string

	mu        sync.Mutex
	value     []byte
	written   [][]byte
	notifying bool
}

// New makes the device on a controller such as "hci1"; bus is the address of the message bus, "" for the system's.
func New(bus, controller string) (*Peripheral, error) {
	conn, err := dbus.ConnectSystemBus()
	if bus != "" {
		if err == nil {
			_ = conn.Close() // the other one is meant
		}
		conn, err = dbus.Connect(bus)
	}
	if err != nil {
		return nil, err
	}
	p := &Peripheral{conn: conn, chars: map[dbus.ObjectPath]*char{}}
	if err := p.begin(conn.Object("org.bluez", dbus.ObjectPath("/org/bluez/"+controller))); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Peripheral) begin(adapter dbus.BusObject) error {
	if err := adapter.SetProperty("org.bluez.Adapter1.Powered", dbus.MakeVariant(true)); err != nil {
		return fmt.Errorf("the controller cannot be switched on: %w", err)
	}
	address, err := adapter.GetProperty("org.bluez.Adapter1.Address")
	if err != nil {
		return err
	}
	p.address, _ = address.Value().(string)
	p.add(root+"/service0", "char0", Temperature, []byte{0xCA, 0x09}, "read", "notify")
	p.add(root+"/service1", "char0", Setpoint, []byte{0, 0}, "read", "write")
	if err := p.conn.Export(tree{p}, root, "org.freedesktop.DBus.ObjectManager"); err != nil {
		return err
	}
	for path, c := range p.chars {
		if err := p.conn.Export(c, path, charIf); err != nil {
			return err
		}
	}
	if err := p.conn.Export(advert{}, advertPath, "org.freedesktop.DBus.Properties"); err != nil {
		return err
	}
	if err := p.conn.Export(released{}, advertPath, advertIf); err != nil {
		return err
	}
	if err := adapter.Call("org.bluez.GattManager1.RegisterApplication", 0, root, vardict{}).Err; err != nil {
		return fmt.Errorf("bluetoothd does not serve our characteristics: %w", err)
	}
	if err := adapter.Call("org.bluez.LEAdvertisingManager1.RegisterAdvertisement", 0, advertPath, vardict{}).Err; err != nil {
		return fmt.Errorf("bluetoothd does not advertise for us: %w", err)
	}
	return nil
}

func (p *Peripheral) add(service dbus.ObjectPath, name, uuid string, value []byte, flags ...string) {
	c := &char{p: p, path: service + "/" + dbus.ObjectPath(name), service: service, uuid: uuid, flags: flags, value: value}
	p.chars[c.path] = c
}

// Close ends it: bluetoothd forgets what was served and advertised with the connection.
func (p *Peripheral) Close() { _ = p.conn.Close() }

// Address is the controller's.
func (p *Peripheral) Address() string { return p.address }

func (p *Peripheral) char(uuid string) *char {
	for _, c := range p.chars {
		if c.uuid == uuid {
			return c
		}
	}
	return nil
}

// Put changes a characteristic, and tells who is subscribed.
func (p *Peripheral) Put(uuid string, value []byte) error {
	c := p.char(uuid)
	c.mu.Lock()
	c.value = slices.Clone(value)
	c.mu.Unlock()
	return p.conn.Emit(c.path, "org.freedesktop.DBus.Properties.PropertiesChanged", charIf, vardict{"Value": dbus.MakeVariant(value)}, []string{})
}

// Notifying says whether somebody is subscribed.
func (p *Peripheral) Notifying(uuid string) bool {
	c := p.char(uuid)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.notifying
}

// Written gives what was written, in order.
func (p *Peripheral) Written(uuid string) [][]byte {
	c := p.char(uuid)
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.written)
}

// tree is the ObjectManager of what is served.
type tree struct{ p *Peripheral }

// GetManagedObjects implements org.freedesktop.DBus.ObjectManager.
func (t tree) GetManagedObjects() (map[dbus.ObjectPath]map[string]vardict, *dbus.Error) {
	all := map[dbus.ObjectPath]map[string]vardict{}
	for service, uuid := range map[dbus.ObjectPath]string{root + "/service0": EnvironmentalSensing, root + "/service1": Settings} {
		all[service] = map[string]vardict{serviceIf: {"UUID": dbus.MakeVariant(uuid), "Primary": dbus.MakeVariant(true)}}
	}
	for path, c := range t.p.chars {
		all[path] = map[string]vardict{charIf: {
			"UUID": dbus.MakeVariant(c.uuid), "Service": dbus.MakeVariant(c.service), "Flags": dbus.MakeVariant(c.flags)}}
	}
	return all, nil
}

// ReadValue implements org.bluez.GattCharacteristic1.
func (c *char) ReadValue(vardict) ([]byte, *dbus.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.value), nil
}

// WriteValue implements org.bluez.GattCharacteristic1.
func (c *char) WriteValue(value []byte, _ vardict) *dbus.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.value = slices.Clone(value)
	c.written = append(c.written, c.value)
	return nil
}

// StartNotify implements org.bluez.GattCharacteristic1.
func (c *char) StartNotify() *dbus.Error { return c.notify(true) }

// StopNotify implements org.bluez.GattCharacteristic1.
func (c *char) StopNotify() *dbus.Error { return c.notify(false) }

func (c *char) notify(on bool) *dbus.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notifying = on
	return nil
}

// advert is the properties of our advertisement.
type advert struct{}

// GetAll implements org.freedesktop.DBus.Properties.
func (advert) GetAll(string) (vardict, *dbus.Error) {
	return vardict{
		"Type": dbus.MakeVariant("peripheral"), "ServiceUUIDs": dbus.MakeVariant([]string{EnvironmentalSensing}),
		"LocalName": dbus.MakeVariant("gatewayd-peer"), "Discoverable": dbus.MakeVariant(true),
	}, nil
}

// released implements org.bluez.LEAdvertisement1.
type released struct{}

// Release says that bluetoothd has let go of the advertisement.
func (released) Release() *dbus.Error { return nil }
