package ble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"edgegateway/adapters/ble/advert"
	"edgegateway/adapters/field"
)

// Options are a radio's settings; the zero value serves, for the adapter "hci0" on the system bus.
type Options struct {
	Adapter string // "hci0"
	Bus     string // address of the message bus; "" for the system's
	Active  bool   // always ask the devices for more (discovery), also where listening would do
	Restart bool   // bluetoothd may be restarted when nothing else helps
	// Quiet is how long nobody at all may be heard before the radio is suspected; 1 min by default. Each further step
	// waits as long again.
	Quiet time.Duration
	// Activation is how long bluetoothd may take to say that it listens passively; 5 s by default. Silence means that it
	// does not.
	Activation time.Duration
	// Connect bounds how long making a connection may take, finding the device included; 30 s by default.
	Connect time.Duration
	// Secret gives what is kept under a name in the credentials folder; nil when there is none.
	Secret func(name string) ([]byte, error)
	Log    *slog.Logger // nil for none
}

const (
	defaultAdapter = "hci0"
	defaultQuiet   = time.Minute
	defaultConnect = 30 * time.Second
	activation     = 5 * time.Second
)

// Driver is one radio. It implements field.Driver, field.Listener and field.Scanner. Bind comes before Listen; Stats may
// be called from any goroutine.
type Driver struct {
	o Options

	live      atomic.Pointer[session] // while Listen runs and BlueZ is there
	listening atomic.Bool             // Listen was called before: somebody keeps the radio going
	stats     stats
	counters  Counters // nil for none

	mu       sync.Mutex
	stations map[string]*Station // by address
	taps     map[chan<- Advert]struct{}
	ladder   ladder
}

// New makes the driver of a radio. Nothing is touched before Listen.
func New(o Options) *Driver {
	if o.Adapter == "" {
		o.Adapter = defaultAdapter
	}
	if o.Quiet <= 0 {
		o.Quiet = defaultQuiet
	}
	if o.Connect <= 0 {
		o.Connect = defaultConnect
	}
	if o.Activation <= 0 {
		o.Activation = activation
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Driver{o: o, stations: map[string]*Station{}, taps: map[chan<- Advert]struct{}{}}
}

// quirkNames are the quirks that a device may have.
var quirkNames = [...]string{"key", "passkey", "format", "keep", "pair", "counter_restarts"}

// quirks is what a device does otherwise.
type quirks struct {
	key, passkey string // names of credentials
	format       string // the only one that is listened to; "" for any
	keep         bool   // stay connected between reads
	pair         bool   // pair, with a passkey or without
	restarts     bool   // it begins to count its encrypted messages anew
}

func parseQuirks(m map[string]string) (q quirks, faults []error) {
	fault := func(key, problem, hint string) {
		faults = append(faults, &field.DeviceError{Key: "quirks." + key, Value: m[key], Problem: problem, Hint: hint})
	}
	flag := func(key string) bool {
		on, err := strconv.ParseBool(m[key])
		if err != nil {
			fault(key, "this is neither true nor false", "write "+key+" = true, or leave it out")
		}
		return on
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		switch key {
		case "key", "passkey":
			if m[key] == "" || strings.ContainsAny(m[key], "/ ") {
				fault(key, "this is no name of a credential", "put the secret into a file of the credentials folder, and write the file's name")
			} else if key == "key" {
				q.key = m[key]
			} else {
				q.passkey, q.pair = m[key], true
			}
		case "format":
			if !slices.Contains(advert.FormatNames(), m[key]) {
				fault(key, "there is no such format", field.Suggest(m[key], advert.FormatNames()...))
			}
			q.format = m[key]
		case "keep":
			q.keep = flag(key)
		case "pair":
			q.pair = flag(key) || q.passkey != ""
		case "counter_restarts":
			q.restarts = flag(key)
		default:
			fault(key, "there is no such quirk", field.Suggest(key, quirkNames[:]...))
		}
	}
	return q, faults
}

// Bind implements field.Driver.
func (d *Driver) Bind(dev field.Device) (field.Station, error) {
	var faults []error
	mac, ok := advert.ParseMAC(dev.Address)
	if !ok {
		faults = append(faults, &field.DeviceError{Key: "address", Value: dev.Address, Problem: "this is no Bluetooth address",
			Hint: `write it as it stands on the device, "C4:AB:12:34:56:78"; gatewayd scan finds it`})
	}
	q, errs := parseQuirks(dev.Quirks)
	faults = append(faults, errs...)
	s := &Station{driver: d, name: dev.Name, mac: mac, address: strings.ToUpper(dev.Address), quirks: q, timeout: dev.Timeout, again: make(chan struct{})}
	if s.timeout <= 0 {
		s.timeout = d.o.Connect
	}
	main := &group{shape: &field.Group{Device: dev.Name, Name: field.MainGroup, Profile: dev.Profile}}
	slow := &group{shape: &field.Group{Device: dev.Name, Name: field.SlowGroup, Profile: dev.Profile}}
	names := map[string]bool{}
	for _, tag := range dev.Tags {
		fault := func(key, value, problem, hint string) {
			faults = append(faults, &field.TagError{Tag: tag.Name, Key: key, Value: value, Problem: problem, Hint: hint})
		}
		g := main
		switch tag.Group {
		case "", field.MainGroup:
		case field.SlowGroup:
			g = slow
		default:
			fault("group", tag.Group, "no such group", field.Suggest(tag.Group, field.MainGroup, field.SlowGroup))
		}
		if names[tag.Name] {
			fault("name", tag.Name, "this device has two tags of that name", "give each a name of its own")
		}
		names[tag.Name] = true
		p, errs := newPoint(tag)
		faults = append(faults, errs...)
		if len(errs) > 0 {
			continue
		}
		if len(g.points) > 0 && g.heard() != p.origin.heard() {
			fault("at", tag.At, "in one group there are tags that are heard, and tags that are read over a connection", `put the ones that are read into the slow group: group = "slow"`)
			continue
		}
		g.points = append(g.points, p)
		g.shape.Points = append(g.shape.Points, field.Point{Name: tag.Name, Kind: p.kind, Unit: p.tag.Unit})
	}
	if other := d.stations[s.address]; other != nil && ok && other.name != dev.Name {
		faults = append(faults, &field.DeviceError{Key: "address", Value: dev.Address, Problem: fmt.Sprintf("device %q has this address", other.name),
			Hint: "make one device of the two, with the tags of both"})
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	for _, g := range []*group{main, slow} {
		if len(g.points) > 0 {
			s.groups = append(s.groups, g)
			s.shapes = append(s.shapes, g.shape)
		}
	}
	s.decoder, _ = advert.NewDecoder(mac, nil, q.restarts) // without a key there is nothing to go wrong
	d.mu.Lock()
	d.stations[s.address] = s
	d.mu.Unlock()
	return s, nil
}

// all lists the stations, by their addresses.
func (d *Driver) all() []*Station {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]*Station, 0, len(d.stations))
	for _, address := range slices.Sorted(maps.Keys(d.stations)) {
		out = append(out, d.stations[address])
	}
	return out
}

// secret reads a credential.
func (d *Driver) secret(name string) ([]byte, error) {
	if d.o.Secret == nil {
		return nil, errors.New("there is no credentials folder")
	}
	return d.o.Secret(name)
}

// lineError says that the radio cannot be used.
func lineError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", field.ErrLine, fmt.Sprintf(format, args...))
}

// session gives the session that runs, or says why there is none.
func (d *Driver) session() (*session, error) {
	if s := d.live.Load(); s != nil {
		return s, nil
	}
	return nil, lineError("the radio %s is not there: %s", d.o.Adapter, d.stats.trouble())
}

// Advert is one advertisement, as a tap gives it.
type Advert struct {
	Time    time.Time
	Address string
	RSSI    int16 // dBm; 0 for not known
	Name    string
	Fields  []advert.Field
}

// tapDepth is how many advertisements wait for a slow tap.
const tapDepth = 256

// Tap gives every advertisement from now on, until the context ends; the channel is closed then. Who does not keep up
// loses some; the radio is never held up.
func (d *Driver) Tap(ctx context.Context) <-chan Advert {
	ch := make(chan Advert, tapDepth)
	d.mu.Lock()
	d.taps[ch] = struct{}{}
	d.mu.Unlock()
	context.AfterFunc(ctx, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.taps, ch)
		close(ch)
	})
	return ch
}

// tell gives an advertisement to the taps.
func (d *Driver) tell(a Advert) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for ch := range d.taps {
		select {
		case ch <- a:
		default:
		}
	}
}

func (d *Driver) tapped() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.taps) > 0
}
