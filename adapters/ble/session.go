package ble

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"edgegateway/adapters/ble/advert"
	"edgegateway/adapters/field"
)

// session is one connection to BlueZ, from the moment at which the adapter was found until something ends it. It mends
// nothing that needs a new beginning: it ends with an error, and the next Listen makes another one.
type session struct {
	d     *Driver
	emit  func(field.Record)
	conn  *dbus.Conn
	mail  *mailbox
	owner string          // BlueZ's unique name: nobody else is believed
	path  dbus.ObjectPath // of the adapter
	gate  chan struct{}   // one connection is made at a time
	wait  sync.WaitGroup

	// Of Listen's goroutine.
	strangers strangers
	heardAt   time.Time // when anybody was
	released  chan string
	monitors  *monitors // while passive
	agent     *agent

	mu              sync.Mutex
	mode            string
	paused          int           // who wants no discovery now
	cycling         bool          // the adapter is switched off and on by us
	changed         chan struct{} // closed, and made anew, when a peer changed
	peers           map[string]*peer
	notices         map[dbus.ObjectPath]notice
	services, chars map[dbus.ObjectPath]part // of our devices
}

// Listen implements field.Listener: one session, until the context ends or something ends the session, which the error
// tells in the installer's words.
func (d *Driver) Listen(ctx context.Context, emit func(field.Record)) error {
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &session{
		d: d, emit: emit, mail: newMailbox(), gate: make(chan struct{}, 1), released: make(chan string, 1),
		changed: make(chan struct{}), peers: map[string]*peer{}, notices: map[dbus.ObjectPath]notice{},
		services: map[dbus.ObjectPath]part{}, chars: map[dbus.ObjectPath]part{},
		path: dbus.ObjectPath("/org/bluez/" + d.o.Adapter),
	}
	d.listening.Store(true)
	err := s.run(run)
	d.live.Store(nil)
	cancel()
	s.wait.Wait()
	s.end()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	d.stats.count(func(t *Stats) {
		t.Listening, t.Mode, t.Trouble = false, modeOff, strings.TrimPrefix(err.Error(), field.ErrLine.Error()+": ")
	})
	return err
}

// run finds the adapter, makes it listen, and takes what comes.
func (s *session) run(ctx context.Context) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	if err := s.findAdapter(ctx); err != nil {
		return err
	}
	for _, st := range s.d.all() {
		s.loadKey(st)
	}
	if err := s.registerAgent(ctx); err != nil {
		s.d.o.Log.Warn("pairing is not possible", "error", err)
	}
	if err := s.listen(ctx); err != nil {
		return err
	}
	s.heardAt = time.Now()
	s.d.live.Store(s)
	s.d.stats.count(func(t *Stats) { t.Listening, t.Trouble = true, "" })
	if !s.d.doubted() {
		s.emit(field.Record{})
	}
	s.wait.Go(func() { s.keepSubscribed(ctx) })
	tick := time.NewTicker(max(s.d.o.Quiet/8, 10*time.Millisecond))
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.conn.Context().Done():
			return lineError("the connection to the message bus broke; is dbus running?")
		case sig := <-s.mail.signals:
			err = s.take(ctx, sig)
		case why := <-s.released:
			err = s.demote(ctx, why)
		case <-tick.C:
			s.countDropped()
			err = s.revive(ctx, time.Now())
		}
		if s.mail.overflow.Load() {
			err = lineError("more signals came than could be taken, and what they said is not known: beginning anew")
		}
		if err != nil {
			return err
		}
	}
}

// connect opens the bus and looks for BlueZ on it.
func (s *session) connect(ctx context.Context) (err error) {
	if s.conn, err = dial(ctx, s.d.o.Bus, s.mail); err != nil {
		return lineError("the message bus is not there: %v; bluetooth needs dbus: apt install dbus bluez", err)
	}
	for _, m := range [][]dbus.MatchOption{
		{dbus.WithMatchSender(busName), dbus.WithMatchInterface(busName), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, bluez)},
		{dbus.WithMatchSender(bluez), dbus.WithMatchPathNamespace("/org/bluez"), dbus.WithMatchInterface(propsIf), dbus.WithMatchMember("PropertiesChanged")},
		{dbus.WithMatchSender(bluez), dbus.WithMatchInterface(objectsIf)},
	} {
		if err := s.conn.AddMatchSignalContext(ctx, m...); err != nil {
			return lineError("the message bus refuses to tell of bluetooth: %v", err)
		}
	}
	body, err := shortly(ctx, s.conn.BusObject(), busName+".GetNameOwner", bluez)
	if err != nil {
		return lineError("bluetoothd is not running; `systemctl status bluetooth` says why (apt install bluez, where it is not installed)")
	}
	s.owner, _ = body[0].(string)
	return nil
}

// countDropped books what the mailbox had no room for.
func (s *session) countDropped() {
	if n := s.mail.dropped.Swap(0); n > 0 {
		s.d.stats.count(func(t *Stats) { t.Dropped += n })
	}
}

// end leaves nothing behind: devices that we connected are let go, and the bus forgets the rest with the connection.
func (s *session) end() {
	if s.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s.mu.Lock()
	var connected []dbus.ObjectPath
	for _, p := range s.peers {
		if p.ours {
			connected = append(connected, p.path)
		}
	}
	s.mu.Unlock()
	for _, path := range connected {
		_, _ = call(ctx, s.object(path), deviceIf+".Disconnect") // it may be gone already
	}
	_ = s.conn.Close()
	s.countDropped()
}

func (s *session) object(path dbus.ObjectPath) dbus.BusObject { return s.conn.Object(bluez, path) }

// managed asks BlueZ for all that it knows.
func (s *session) managed(ctx context.Context) (objects, error) {
	body, err := shortly(ctx, s.object("/"), objectsIf+".GetManagedObjects")
	if err != nil {
		return nil, err
	}
	var all objects
	if err := dbus.Store(body, &all); err != nil {
		return nil, err
	}
	return all, nil
}

// findAdapter looks where things stand, and switches the adapter on.
func (s *session) findAdapter(ctx context.Context) error {
	all, err := s.managed(ctx)
	if err != nil {
		return lineError("bluetoothd does not answer: %v", err)
	}
	adapter, ok := all[s.path][adapterIf]
	if !ok {
		var names []string
		for path, o := range all {
			if _, ok := o[adapterIf]; ok {
				names = append(names, strings.TrimPrefix(string(path), "/org/bluez/"))
			}
		}
		slices.Sort(names)
		there := "there is none at all: is the adapter plugged in, and its kernel module loaded?"
		if len(names) > 0 {
			there = "there are: " + strings.Join(names, ", ")
		}
		return lineError("there is no bluetooth adapter %s; %s", s.d.o.Adapter, there)
	}
	s.d.stats.count(func(t *Stats) { t.Address = textOf(adapter, "Address") })
	if _, ok := all[s.path][monitorsIf]; ok && !s.d.o.Active {
		s.monitors = &monitors{session: s}
	}
	for path, o := range all {
		if p, ok := o[deviceIf]; ok {
			s.know(path, p)
		}
	}
	for path, o := range all { // after the devices that they belong to
		s.learn(path, o)
	}
	if flagOf(adapter, "Powered") {
		return nil
	}
	s.d.o.Log.Info("the radio is switched off; switching it on", "adapter", s.d.o.Adapter)
	return s.power(ctx, true)
}

// power switches the adapter on or off.
func (s *session) power(ctx context.Context, on bool) error {
	_, err := shortly(ctx, s.object(s.path), propsIf+".Set", adapterIf, "Powered", dbus.MakeVariant(on))
	if err == nil {
		return nil
	}
	if on {
		return lineError("the radio %s cannot be switched on: %v; is it blocked? `rfkill list` tells, `rfkill unblock bluetooth` helps", s.d.o.Adapter, err)
	}
	return err
}

// loadKey gives a station its key. Where it cannot be had, every advertised value of the device is refused and counted.
func (s *session) loadKey(st *Station) {
	if st.quirks.key == "" {
		return
	}
	text, err := s.d.secret(st.quirks.key)
	var key []byte
	if err == nil {
		key, err = advert.ParseKey(string(text))
	}
	if err != nil {
		s.d.o.Log.Warn("the device's key cannot be used: what it advertises is refused", "device", st.name, "credential", st.quirks.key, "error", err)
		return
	}
	if slices.Equal(key, st.key) {
		return // the decoder goes on: it knows which messages were there
	}
	if decoder, err := advert.NewDecoder(st.mac, key, st.quirks.restarts); err == nil {
		st.decoder, st.key = decoder, key
		st.resume()
	}
}

// take takes one signal.
func (s *session) take(ctx context.Context, sig *dbus.Signal) error {
	if sig.Name == busName+".NameOwnerChanged" && sig.Sender == busName {
		if len(sig.Body) == 3 && sig.Body[0] == bluez && sig.Body[2] != s.owner {
			return lineError("bluetoothd ended or was restarted")
		}
		return nil
	}
	if sig.Sender != s.owner {
		return nil
	}
	switch sig.Name {
	case propsIf + ".PropertiesChanged":
		if len(sig.Body) < 2 {
			s.odd(1)
			return nil
		}
		kind, _ := sig.Body[0].(string)
		changed, ok := sig.Body[1].(properties)
		switch {
		case !ok:
			s.odd(1)
		case kind == deviceIf:
			s.device(sig.Path, changed, false)
		case kind == charIf, kind == batteryIf:
			s.notice(sig.Path, changed)
		case kind == adapterIf && sig.Path == s.path:
			return s.adapter(ctx, changed)
		}
	case objectsIf + ".InterfacesAdded":
		if len(sig.Body) < 2 {
			s.odd(1)
			return nil
		}
		path, ok := sig.Body[0].(dbus.ObjectPath)
		added, ok2 := sig.Body[1].(map[string]properties)
		if !ok || !ok2 {
			s.odd(1)
			return nil
		}
		if p, ok := added[deviceIf]; ok {
			s.know(path, p)
			s.device(path, p, true)
		}
		s.learn(path, added)
	case objectsIf + ".InterfacesRemoved":
		if len(sig.Body) < 2 {
			s.odd(1)
			return nil
		}
		path, _ := sig.Body[0].(dbus.ObjectPath)
		gone, _ := sig.Body[1].([]string)
		switch {
		case slices.Contains(gone, adapterIf) && path == s.path:
			return lineError("the bluetooth adapter %s is gone: was it unplugged?", s.d.o.Adapter)
		case slices.Contains(gone, deviceIf):
			s.forget(path)
		case slices.Contains(gone, serviceIf), slices.Contains(gone, charIf):
			s.unlearn(path)
		}
	}
	return nil
}

func (s *session) odd(n int) {
	if n > 0 {
		s.d.stats.count(func(t *Stats) { t.Odd += uint64(n) })
	}
}

// adapter takes what changed of the adapter.
func (s *session) adapter(ctx context.Context, changed properties) error {
	s.mu.Lock()
	cycling, paused, mode := s.cycling, s.paused > 0, s.mode
	s.mu.Unlock()
	if on, ok := of[bool](changed, "Powered"); ok && !on && !cycling {
		return lineError("the radio %s was switched off", s.d.o.Adapter)
	}
	if on, ok := of[bool](changed, "Discovering"); ok && !on && mode == modeActive && !paused && !cycling {
		now, err := shortly(ctx, s.object(s.path), propsIf+".Get", adapterIf, "Discovering")
		if err == nil && len(now) == 1 && now[0] == dbus.MakeVariant(true) {
			return nil // it was told late
		}
		return s.discover(ctx)
	}
	return nil
}

// noSignal is what a controller tells that does not measure the signal (Core Specification, vol 4, part E, 7.7.65.2).
const noSignal = 127

// device takes what changed of a device: only that is an advertisement, not what BlueZ remembers.
func (s *session) device(path dbus.ObjectPath, changed properties, added bool) {
	address, ok := addressOf(s.path, path)
	if !ok {
		if strings.HasPrefix(string(path), string(s.path)+"/") {
			s.odd(1)
		}
		return
	}
	if !added {
		s.update(address, path, changed)
	}
	var rssi *int16
	if v, there := changed["RSSI"]; there {
		if n, ok := v.Value().(int16); ok {
			rssi = &n
		} else {
			s.odd(1)
		}
	}
	heard := rssi != nil
	if heard && *rssi == noSignal {
		rssi = nil
	}
	if added && !heard {
		return // BlueZ made the object of what it remembers: nobody was heard
	}
	fields, odd := adverts(changed)
	s.odd(odd)
	if !heard && len(fields) == 0 {
		return
	}
	now := time.Now()
	s.awake(now)
	s.d.stats.count(func(t *Stats) { t.Adverts, t.Heard = t.Adverts+1, now })
	if s.d.tapped() {
		a := Advert{Time: now, Address: address, Fields: slices.Clone(fields), Name: textOf(changed, "Name")}
		if rssi != nil {
			a.RSSI = *rssi
		}
		s.d.tell(a)
	}
	s.d.mu.Lock()
	st := s.d.stations[address]
	s.d.mu.Unlock()
	if st == nil {
		s.stranger(path, flagOf(changed, "Paired") || flagOf(changed, "Connected"))
		return
	}
	st.mu.Lock()
	st.book.Adverts++
	if rssi != nil {
		st.book.RSSI = *rssi
	}
	st.mu.Unlock()
	if !st.hearsAdverts() {
		return
	}
	records, err := st.advertised(st.fresh(fields), rssi)
	if err != nil {
		s.refuse(st, err)
	}
	for _, r := range records {
		st.noted(r, now)
		s.emit(r)
	}
}

// stranger notes a device that is not ours; one for which there is no room any more BlueZ is to forget too.
func (s *session) stranger(path dbus.ObjectPath, bound bool) {
	gone := s.strangers.heard(path, bound)
	n := s.strangers.order.Len()
	s.d.stats.count(func(t *Stats) {
		t.Strangers = n
		if gone != "" {
			t.Forgotten++
		}
	})
	if gone != "" {
		s.object(s.path).Go(adapterIf+".RemoveDevice", dbus.FlagNoReplyExpected|dbus.FlagNoAutoStart, nil, gone)
	}
}
