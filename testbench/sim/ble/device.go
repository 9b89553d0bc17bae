package ble

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Device is a device on the fake air.
type Device struct {
	b       *BlueZ
	Address string
	Name    string

	// Guarded by BlueZ.mu.
	exists    bool // BlueZ has an object for it
	connected bool
	paired    bool
	trusted   bool
	passkey   uint32 // that pairing wants; 0 for none
	battery   byte   // that BlueZ tells of as Battery1; 0 for none
	data      vardict
	chars     []*Char
}

// Char is a characteristic of a Device.
type Char struct {
	d             *Device
	service, uuid string // in full
	n             int

	// Guarded by BlueZ.mu.
	value     []byte
	refuse    string // the error of a read: "NotPermitted"
	notifying bool
	written   [][]byte
}

// Add puts a device on the air. BlueZ knows of it once it has spoken.
func (b *BlueZ) Add(address, name string) (*Device, error) {
	d := &Device{b: b, Address: address, Name: name, data: vardict{}}
	b.mu.Lock()
	b.devices[address] = d
	conn := b.conn
	b.mu.Unlock()
	if conn == nil {
		return d, nil
	}
	return d, d.export(conn)
}

// Forget takes a device off the air for good.
func (b *BlueZ) Forget(d *Device) {
	b.mu.Lock()
	delete(b.devices, d.Address)
	conn := b.conn
	b.mu.Unlock()
	if conn == nil {
		return
	}
	for _, kind := range [...]string{"org.bluez.Device1", "org.freedesktop.DBus.Properties"} {
		_ = conn.Export(nil, d.path(), kind) // taking an export back does not fail
	}
}

// Devices lists the devices, in the order of their addresses.
func (b *BlueZ) Devices() []*Device {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []*Device
	for _, d := range b.devices {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b *Device) int { return strings.Compare(a.Address, b.Address) })
	return out
}

func (d *Device) path() dbus.ObjectPath {
	return d.b.Path + "/dev_" + dbus.ObjectPath(strings.ReplaceAll(d.Address, ":", "_"))
}

// Path is where BlueZ's object of the device stands.
func (d *Device) Path() dbus.ObjectPath { return d.path() }

func (d *Device) export(conn *dbus.Conn) error {
	if err := conn.Export(d, d.path(), "org.bluez.Device1"); err != nil {
		return err
	}
	if err := conn.Export(props{d.b}, d.path(), "org.freedesktop.DBus.Properties"); err != nil {
		return err
	}
	d.b.mu.Lock()
	chars := slices.Clone(d.chars)
	d.b.mu.Unlock()
	for _, c := range chars {
		if err := conn.Export(c, c.path(), "org.bluez.GattCharacteristic1"); err != nil {
			return err
		}
	}
	return nil
}

// Full is the full form of an assigned UUID.
func Full(uuid uint16) string { return fmt.Sprintf("0000%04x-0000-1000-8000-00805f9b34fb", uuid) }

// Serve gives the device a characteristic.
func (d *Device) Serve(service, uuid string, value []byte) (*Char, error) {
	d.b.mu.Lock()
	c := &Char{d: d, service: service, uuid: uuid, n: len(d.chars), value: value}
	d.chars = append(d.chars, c)
	conn := d.b.conn
	d.b.mu.Unlock()
	return c, d.export(conn)
}

// Passkey makes the device want to be paired with a passkey before its characteristics can be read.
func (d *Device) Passkey(n uint32) {
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	d.passkey = n
}

// Battery makes BlueZ keep the battery service for itself, as it does since version 5.48, and tell of the level.
func (d *Device) Battery(percent byte) error {
	d.b.mu.Lock()
	d.battery = percent
	d.b.mu.Unlock()
	return d.b.changed(d.path(), "org.bluez.Battery1", vardict{"Percentage": dbus.MakeVariant(percent)})
}

// State tells how the device is.
func (d *Device) State() (connected, paired, trusted bool) {
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	return d.connected, d.paired, d.trusted
}

// Advert is what a device advertises: RSSI in dBm, and data by companies and by services.
type Advert struct {
	RSSI         int16
	Manufacturer map[uint16][]byte
	Service      map[uint16][]byte
}

func (a Advert) properties() vardict {
	p := vardict{"RSSI": dbus.MakeVariant(a.RSSI)}
	if len(a.Manufacturer) > 0 {
		data := map[uint16]dbus.Variant{}
		for id, b := range a.Manufacturer {
			data[id] = dbus.MakeVariant(b)
		}
		p["ManufacturerData"] = dbus.MakeVariant(data)
	}
	if len(a.Service) > 0 {
		data := vardict{}
		for id, b := range a.Service {
			data[Full(id)] = dbus.MakeVariant(b)
		}
		p["ServiceData"] = dbus.MakeVariant(data)
	}
	return p
}

// Advertise sends an advertisement. It says whether anybody listened: without a scan nothing goes out.
func (d *Device) Advertise(a Advert) (sent bool, err error) {
	b := d.b
	b.mu.Lock()
	f := b.faults
	listening := b.conn != nil && b.powered && (b.discover || b.monitor != "") && !f.Quiet
	if !listening {
		b.mu.Unlock()
		return false, nil
	}
	changed := a.properties()
	fresh := !d.exists
	d.exists = true
	for name, v := range changed {
		d.data[name] = v
	}
	whole := d.propertiesLocked()
	b.sent++
	b.mu.Unlock()
	if fresh {
		return true, b.emit("/", "org.freedesktop.DBus.ObjectManager.InterfacesAdded", d.path(), map[string]vardict{"org.bluez.Device1": whole})
	}
	return true, b.changed(d.path(), "org.bluez.Device1", changed)
}

// Remember makes BlueZ have an object for the device that it has not heard: the memory of an older time.
func (d *Device) Remember(a Advert) error {
	d.b.mu.Lock()
	d.exists = true
	d.data = a.properties()
	delete(d.data, "RSSI")
	whole := d.propertiesLocked()
	d.b.mu.Unlock()
	return d.b.emit("/", "org.freedesktop.DBus.ObjectManager.InterfacesAdded", d.path(), map[string]vardict{"org.bluez.Device1": whole})
}

// Vanish makes BlueZ forget the device.
func (d *Device) Vanish() error {
	d.b.mu.Lock()
	was := d.exists
	d.exists, d.connected = false, false
	d.b.mu.Unlock()
	if !was {
		return nil
	}
	return d.b.emit("/", "org.freedesktop.DBus.ObjectManager.InterfacesRemoved", d.path(), []string{"org.bluez.Device1", "org.freedesktop.DBus.Properties"})
}

func (d *Device) propertiesLocked() vardict {
	p := vardict{
		"Address": dbus.MakeVariant(d.Address), "AddressType": dbus.MakeVariant("random"), "Alias": dbus.MakeVariant(d.Name),
		"Paired": dbus.MakeVariant(d.paired), "Trusted": dbus.MakeVariant(d.trusted), "Blocked": dbus.MakeVariant(false),
		"Connected": dbus.MakeVariant(d.connected), "ServicesResolved": dbus.MakeVariant(d.connected),
		"Adapter": dbus.MakeVariant(d.b.Path), "UUIDs": dbus.MakeVariant([]string{}), "LegacyPairing": dbus.MakeVariant(false),
	}
	if d.Name != "" {
		p["Name"] = dbus.MakeVariant(d.Name)
	}
	for name, v := range d.data {
		p[name] = v
	}
	return p
}

// objectsLocked are the device's objects; services and characteristics are there while it is connected.
func (d *Device) objectsLocked() map[dbus.ObjectPath]map[string]vardict {
	all := map[dbus.ObjectPath]map[string]vardict{d.path(): {"org.bluez.Device1": d.propertiesLocked()}}
	if !d.connected {
		return all
	}
	for _, c := range d.chars {
		all[c.servicePath()] = map[string]vardict{"org.bluez.GattService1": {
			"UUID": dbus.MakeVariant(c.service), "Device": dbus.MakeVariant(d.path()), "Primary": dbus.MakeVariant(true)}}
		all[c.path()] = map[string]vardict{"org.bluez.GattCharacteristic1": {
			"UUID": dbus.MakeVariant(c.uuid), "Service": dbus.MakeVariant(c.servicePath()), "Flags": dbus.MakeVariant([]string{"read", "write", "notify"})}}
	}
	return all
}

func (c *Char) servicePath() dbus.ObjectPath {
	for i, other := range c.d.chars {
		if other.service == c.service {
			return c.d.path() + dbus.ObjectPath(fmt.Sprintf("/service%04x", 16*i+1))
		}
	}
	return c.d.path()
}

func (c *Char) path() dbus.ObjectPath {
	return c.servicePath() + dbus.ObjectPath(fmt.Sprintf("/char%04x", 16*c.n+2))
}

// Connect implements org.bluez.Device1.
func (d *Device) Connect() *dbus.Error {
	b := d.b
	b.called("Connect")
	b.turn.Lock()
	b.mu.Lock()
	f := b.faults
	if f.NoConnect || !d.exists {
		b.mu.Unlock()
		b.turn.Unlock()
		return blueError("Failed", "le-connection-abort-by-local")
	}
	d.connected = true
	objects := d.objectsLocked()
	b.mu.Unlock()
	_ = b.changed(d.path(), "org.bluez.Device1", vardict{"Connected": dbus.MakeVariant(true)})
	if f.LateConnect {
		d.drop()
		b.turn.Unlock()
		return nil
	}
	go func() { // as with BlueZ, the services are known after the answer
		defer b.turn.Unlock()
		for path, o := range objects {
			if path != d.path() {
				_ = b.emit("/", "org.freedesktop.DBus.ObjectManager.InterfacesAdded", path, o)
			}
		}
		_ = b.changed(d.path(), "org.bluez.Device1", vardict{"ServicesResolved": dbus.MakeVariant(true)})
	}()
	return nil
}

// Disconnect implements org.bluez.Device1.
func (d *Device) Disconnect() *dbus.Error {
	d.b.called("Disconnect")
	d.Drop()
	return nil
}

// Drop ends the connection, as a device out of range does.
func (d *Device) Drop() {
	d.b.turn.Lock()
	defer d.b.turn.Unlock()
	d.drop()
}

func (d *Device) drop() {
	b := d.b
	b.mu.Lock()
	was := d.connected
	d.connected = false
	var gone []dbus.ObjectPath
	for _, c := range d.chars {
		c.notifying = false
		gone = append(gone, c.path(), c.servicePath())
	}
	b.mu.Unlock()
	if !was {
		return
	}
	_ = b.changed(d.path(), "org.bluez.Device1", vardict{"ServicesResolved": dbus.MakeVariant(false), "Connected": dbus.MakeVariant(false)})
	for _, path := range gone {
		_ = b.emit("/", "org.freedesktop.DBus.ObjectManager.InterfacesRemoved", path, []string{"org.bluez.GattService1", "org.bluez.GattCharacteristic1"})
	}
}

// Pair implements org.bluez.Device1: it asks the agent for the passkey.
func (d *Device) Pair() *dbus.Error {
	b := d.b
	b.called("Pair")
	b.mu.Lock()
	agent, conn, want, paired := b.agent, b.conn, d.passkey, d.paired
	b.mu.Unlock()
	if paired {
		return blueError("AlreadyExists", "Already Exists")
	}
	owner, path, ok := strings.Cut(agent, " ")
	if !ok {
		return blueError("AuthenticationRejected", "no agent")
	}
	var got uint32
	if err := conn.Object(owner, dbus.ObjectPath(path)).Call("org.bluez.Agent1.RequestPasskey", 0, d.path()).Store(&got); err != nil {
		return blueError("AuthenticationRejected", err.Error())
	}
	if got != want {
		return blueError("AuthenticationFailed", "Authentication Failed")
	}
	b.mu.Lock()
	d.paired = true
	b.mu.Unlock()
	_ = b.changed(d.path(), "org.bluez.Device1", vardict{"Paired": dbus.MakeVariant(true)})
	return nil
}

// ReadValue implements org.bluez.GattCharacteristic1.
func (c *Char) ReadValue(vardict) ([]byte, *dbus.Error) {
	c.d.b.called("ReadValue")
	c.d.b.mu.Lock()
	defer c.d.b.mu.Unlock()
	switch {
	case !c.d.connected:
		return nil, blueError("NotConnected", "Not Connected")
	case c.refuse != "":
		return nil, blueError(c.refuse, "Read not permitted")
	case c.d.passkey != 0 && !c.d.paired:
		return nil, blueError("NotAuthorized", "insufficient authentication")
	}
	return slices.Clone(c.value), nil
}

// WriteValue implements org.bluez.GattCharacteristic1.
func (c *Char) WriteValue(value []byte, _ vardict) *dbus.Error {
	c.d.b.called("WriteValue")
	c.d.b.mu.Lock()
	defer c.d.b.mu.Unlock()
	if c.refuse != "" {
		return blueError(c.refuse, "Write not permitted")
	}
	c.value = slices.Clone(value)
	c.written = append(c.written, c.value)
	return nil
}

// StartNotify implements org.bluez.GattCharacteristic1.
func (c *Char) StartNotify() *dbus.Error {
	c.d.b.called("StartNotify")
	c.d.b.mu.Lock()
	defer c.d.b.mu.Unlock()
	if !c.d.connected {
		return blueError("NotConnected", "Not Connected")
	}
	c.notifying = true
	return nil
}

// Put changes the value; who is subscribed is told. It says whether somebody was.
func (c *Char) Put(value []byte) (told bool, err error) {
	c.d.b.mu.Lock()
	c.value = slices.Clone(value)
	told = c.notifying && c.d.connected
	c.d.b.mu.Unlock()
	if !told {
		return false, nil
	}
	return true, c.d.b.changed(c.path(), "org.bluez.GattCharacteristic1", vardict{"Value": dbus.MakeVariant(value)})
}

// Refuse makes reads and writes fail with this error of BlueZ; "" for none.
func (c *Char) Refuse(name string) {
	c.d.b.mu.Lock()
	defer c.d.b.mu.Unlock()
	c.refuse = name
}

// Notifying says whether somebody is subscribed.
func (c *Char) Notifying() bool {
	c.d.b.mu.Lock()
	defer c.d.b.mu.Unlock()
	return c.notifying
}

// Written gives what was written, in order.
func (c *Char) Written() [][]byte {
	c.d.b.mu.Lock()
	defer c.d.b.mu.Unlock()
	return slices.Clone(c.written)
}

// Ruuvi is a RuuviTag's advertisement, data format 5: temperature in 0.005 °C, humidity in 0.0025 %, pressure in Pa.
func Ruuvi(temperature int16, humidity uint16, pressure int, sequence uint16) Advert {
	b := []byte{5}
	b = binary.BigEndian.AppendUint16(b, uint16(temperature))
	b = binary.BigEndian.AppendUint16(b, humidity)
	b = binary.BigEndian.AppendUint16(b, uint16(pressure-50000))
	b = append(b, 0, 4, 0xFF, 0xFC, 4, 0x0C, 0xAC, 0x36, 0x42)
	b = binary.BigEndian.AppendUint16(b, sequence)
	return Advert{RSSI: -60, Manufacturer: map[uint16][]byte{0x0499: append(b, 0xCB, 0xB8, 0x33, 0x4C, 0x88, 0x4F)}}
}

// BTHome is an advertisement in BTHome v2: the packet's number, and a temperature in 0.01 °C.
func BTHome(number byte, temperature int16) Advert {
	b := binary.LittleEndian.AppendUint16([]byte{0x40, 0x00, number, 0x02}, uint16(temperature))
	return Advert{RSSI: -70, Service: map[uint16][]byte{0xFCD2: b}}
}
