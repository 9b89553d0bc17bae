package ble

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"

	"edgegateway/adapters/ble/advert"
	"edgegateway/adapters/field"
)

// The names of BlueZ's interfaces (doc/org.bluez.*.rst).
const (
	bluez      = "org.bluez"
	adapterIf  = "org.bluez.Adapter1"
	deviceIf   = "org.bluez.Device1"
	serviceIf  = "org.bluez.GattService1"
	charIf     = "org.bluez.GattCharacteristic1"
	batteryIf  = "org.bluez.Battery1"
	monitorsIf = "org.bluez.AdvertisementMonitorManager1"
	agentsIf   = "org.bluez.AgentManager1"
	propsIf    = "org.freedesktop.DBus.Properties"
	objectsIf  = "org.freedesktop.DBus.ObjectManager"
	busName    = "org.freedesktop.DBus"
)

// properties are those of one interface of one object.
type properties = map[string]dbus.Variant

// objects is what ObjectManager gives.
type objects = map[dbus.ObjectPath]map[string]properties

// callTimeout bounds calls that BlueZ answers at once when it is well.
const callTimeout = 10 * time.Second

// dial opens a connection of its own to a bus; "" is the system's. It never starts BlueZ: a bus without it is not made
// to wait until it could be activated.
func dial(ctx context.Context, address string, signals dbus.SignalHandler) (*dbus.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	patience := time.AfterFunc(callTimeout, cancel) // a bus that accepts and says nothing is no bus
	conn, err := connect(ctx, address, dbus.WithContext(ctx), dbus.WithSignalHandler(signals))
	if !patience.Stop() && err == nil {
		_ = conn.Close()
		err = context.DeadlineExceeded
	}
	if err != nil {
		cancel()
		return nil, err
	}
	context.AfterFunc(conn.Context(), cancel)
	return conn, nil
}

// call calls a method and waits for its answer, in the way in which a line's loop can live meanwhile.
func call(ctx context.Context, o dbus.BusObject, method string, args ...any) ([]any, error) {
	answered := make(chan struct{})
	c := o.GoWithContext(ctx, method, dbus.FlagNoAutoStart, make(chan *dbus.Call, 1), args...)
	var err error
	go func() {
		<-c.Done // the context ends it at the latest
		close(answered)
	}()
	if err = field.Await(ctx, answered); err != nil {
		return nil, err
	}
	return c.Body, c.Err
}

// shortly is call for what is answered at once.
func shortly(ctx context.Context, o dbus.BusObject, method string, args ...any) ([]any, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return call(ctx, o, method, args...)
}

// failed says whether BlueZ refused with the error of this name: "InProgress".
func failed(err error, name string) bool {
	var e dbus.Error
	return errors.As(err, &e) && (e.Name == "org.bluez.Error."+name || e.Name == "org.freedesktop.DBus.Error."+name)
}

// of reads a property of the type; the zero value when it is not there or is another type.
func of[T any](p properties, name string) (v T, ok bool) {
	v, ok = p[name].Value().(T)
	return v, ok
}

// text, flag and the like read properties that are not there as their zero value.
func flagOf(p properties, name string) bool {
	v, _ := of[bool](p, name)
	return v
}

func textOf(p properties, name string) string {
	v, _ := of[string](p, name)
	return v
}

// adverts reads the fields of an advertisement from the properties that changed. odd counts what has another shape
// than BlueZ documents.
func adverts(changed properties) (fields []advert.Field, odd int) {
	if v, there := changed["ManufacturerData"]; there {
		data, ok := v.Value().(map[uint16]dbus.Variant)
		if !ok {
			odd++
		}
		for id, v := range data {
			b, ok := v.Value().([]byte)
			if !ok {
				odd++
				continue
			}
			fields = append(fields, advert.Field{Source: advert.Manufacturer, ID: id, Data: b})
		}
	}
	if v, there := changed["ServiceData"]; there {
		data, ok := v.Value().(map[string]dbus.Variant)
		if !ok {
			odd++
		}
		for uuid, v := range data {
			b, ok := v.Value().([]byte)
			if !ok {
				odd++
				continue
			}
			if id, ok := shortUUID(uuid); ok {
				fields = append(fields, advert.Field{Source: advert.Service, ID: id, Data: b})
			}
		}
	}
	if len(fields) > 1 { // a map has no order, and what a device tells should not depend on chance
		slices.SortFunc(fields, func(a, b advert.Field) int {
			return int(a.Source)<<16 + int(a.ID) - int(b.Source)<<16 - int(b.ID)
		})
	}
	return fields, odd
}

// pattern is one row of a monitor's patterns: where in the field, its AD type, and what stands there.
type pattern struct {
	Start, Type byte
	Data        []byte
}

func patternOf(f advert.Field) pattern {
	p := pattern{Type: 0x16, Data: binary.LittleEndian.AppendUint16(nil, f.ID)}
	if f.Source == advert.Manufacturer {
		p.Type = 0xFF
	}
	return p
}

// addressOf reads the address of a device from its path below the adapter: "…/dev_C4_AB_12_34_56_78".
func addressOf(adapter, path dbus.ObjectPath) (string, bool) {
	rest, ok := strings.CutPrefix(string(path), string(adapter)+"/dev_")
	if !ok || len(rest) != 17 {
		return "", false
	}
	return strings.ReplaceAll(rest, "_", ":"), true
}

// mailboxDepth is how many signals wait for the session: several seconds of a busy street.
const mailboxDepth = 2048

// mailbox takes signals from the bus without ever holding it up. An advertisement that finds no room is dropped and
// counted; anything else that does means that the session no longer knows how things are.
type mailbox struct {
	signals  chan *dbus.Signal
	dropped  atomic.Uint64
	overflow atomic.Bool
}

func newMailbox() *mailbox { return &mailbox{signals: make(chan *dbus.Signal, mailboxDepth)} }

// DeliverSignal implements dbus.SignalHandler.
func (m *mailbox) DeliverSignal(_, _ string, s *dbus.Signal) {
	select {
	case m.signals <- s:
		return
	default:
	}
	if droppable(s) {
		m.dropped.Add(1)
	} else {
		m.overflow.Store(true)
	}
}

// droppable says that a signal is an advertisement and nothing else.
func droppable(s *dbus.Signal) bool {
	if s.Name != propsIf+".PropertiesChanged" || len(s.Body) < 2 || s.Body[0] != deviceIf {
		return false
	}
	changed, ok := s.Body[1].(properties)
	if !ok {
		return true
	}
	for _, name := range [...]string{"Connected", "ServicesResolved", "Paired"} {
		if _, there := changed[name]; there {
			return false
		}
	}
	return true
}
