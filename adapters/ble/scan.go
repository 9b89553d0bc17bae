package ble

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"edgegateway/adapters/ble/advert"
	"edgegateway/adapters/field"
)

const (
	scanTime  = 20 * time.Second       // in which a device that speaks every ten seconds is heard
	scanStep  = 250 * time.Millisecond // between two looks at what was heard
	mostFound = 4096
)

// sighting is what was heard of one device in a scan.
type sighting struct {
	rssi      int16
	name      string
	format    advert.Format
	encrypted bool
	company   uint16
	measures  []string
	told      bool
}

// Scan implements field.Scanner: it listens for Timeout (20 s by default) to everybody. A device whose format is known
// is told as soon as it is; the others at the end. Addresses and modes are not asked for.
func (d *Driver) Scan(ctx context.Context, o field.ScanOptions, found func(field.Found), progress func(done, total int)) error {
	if o.From != "" || o.To != "" || len(o.Modes) > 0 {
		return &field.DeviceError{Key: "from", Value: cmp.Or(o.From, o.To, strings.Join(o.Modes, ", ")), Problem: "a radio has no range of addresses and no modes",
			Hint: "leave them out: everybody in range is heard"}
	}
	length := cmp.Or(o.Timeout, scanTime)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	session, stop, err := d.awaitSession(ctx)
	if err != nil {
		return err
	}
	defer stop()
	heard := d.Tap(ctx)
	names, err := session.names(ctx)
	if err != nil {
		return err
	}
	release, err := session.seek(ctx)
	if err != nil {
		return err
	}
	defer release()
	seen := map[string]*sighting{}
	steps := max(int(length/scanStep), 1)
	for step := range steps {
		if err := pause(ctx, scanStep); err != nil {
			return err
		}
		for more := true; more; {
			select {
			case a := <-heard:
				see(seen, a, names)
			default:
				more = false
			}
		}
		for _, address := range slices.Sorted(maps.Keys(seen)) {
			if s := seen[address]; !s.told && s.format != advert.Unknown {
				s.told = true
				found(s.found(address))
			}
		}
		progress(step+1, steps)
		if d.live.Load() != session {
			return lineError("the radio %s went away during the scan: %s", d.o.Adapter, d.stats.trouble())
		}
		field.Pause(ctx)
	}
	rest := slices.Sorted(maps.Keys(seen))
	slices.SortStableFunc(rest, func(a, b string) int { return cmp.Compare(seen[b].rssi, seen[a].rssi) })
	for _, address := range rest {
		if s := seen[address]; !s.told {
			found(s.found(address))
		}
	}
	return nil
}

// awaitSession gives the session that runs, or makes one where nobody listens. stop ends what was made.
func (d *Driver) awaitSession(ctx context.Context) (s *session, stop func(), err error) {
	if d.listening.Load() {
		s, err = d.session()
		return s, func() {}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	var failure error // once ended is closed
	go func() {
		defer close(ended)
		failure = d.Listen(ctx, func(field.Record) {})
	}()
	stop = func() {
		cancel()
		<-ended
		d.listening.Store(false)
	}
	for {
		if s := d.live.Load(); s != nil {
			return s, stop, nil
		}
		select {
		case <-ended:
			d.listening.Store(false)
			return nil, nil, failure
		default:
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			stop()
			return nil, nil, err
		}
	}
}

// names are those of the devices that BlueZ knows already: it does not tell them again.
func (s *session) names(ctx context.Context) (map[string]string, error) {
	all, err := s.managed(ctx)
	if err != nil {
		return nil, lineError("bluetoothd does not answer: %v", err)
	}
	names := map[string]string{}
	for path, o := range all {
		if address, ok := addressOf(s.path, path); ok {
			names[address] = textOf(o[deviceIf], "Name")
		}
	}
	return names, nil
}

// see adds an advertisement to what is known of its sender.
func see(seen map[string]*sighting, a Advert, names map[string]string) {
	s := seen[a.Address]
	if s == nil {
		if len(seen) >= mostFound {
			return
		}
		s = &sighting{name: names[a.Address]}
		seen[a.Address] = s
	}
	if a.RSSI != 0 {
		s.rssi = a.RSSI
	}
	if a.Name != "" {
		s.name = a.Name
	}
	for _, f := range a.Fields {
		if f.Source == advert.Manufacturer {
			s.company = f.ID
		}
		format := advert.Recognise(f)
		if format == advert.Unknown {
			continue
		}
		s.format = format
		s.encrypted = s.encrypted || advert.Encrypted(f)
		mac, _ := advert.ParseMAC(a.Address)
		decoder, err := advert.NewDecoder(mac, nil, false)
		if err != nil {
			continue
		}
		frame, err := decoder.Decode(f)
		if err != nil {
			continue
		}
		for _, m := range frame.Measures {
			name := m.Name
			if m.Nth > 1 {
				name += " " + strconv.Itoa(m.Nth)
			}
			if !slices.Contains(s.measures, name) {
				s.measures = append(s.measures, name)
			}
		}
	}
}

// ruuviProfile is the built-in profile of RuuviTags.
const ruuviProfile = "ruuvi-tag"

func (s *sighting) found(address string) field.Found {
	f := field.Found{Protocol: "ble", Address: address, Identity: s.format.String(), Detail: map[string]string{"format": s.format.String()}}
	if s.format == advert.Unknown {
		f.Identity = "of an unknown format"
	}
	if s.encrypted {
		f.Identity += ", encrypted"
	}
	if s.rssi != 0 {
		f.Detail["signal"] = fmt.Sprintf("%d dBm", s.rssi)
		f.Identity += ", " + f.Detail["signal"]
	}
	if name := strings.Map(printable, s.name); name != "" {
		f.Detail["name"] = name
		f.Identity += ", " + name
	}
	if s.company != 0 {
		f.Detail["company"] = fmt.Sprintf("%04X", s.company)
	}
	if len(s.measures) > 0 {
		f.Detail["measures"] = strings.Join(s.measures, ", ")
	}
	if s.encrypted {
		f.Detail["encrypted"] = "true"
	}
	if s.format == advert.Ruuvi5 {
		f.Profile = ruuviProfile
	}
	return f
}

// Paste gives the lines of a configuration for a device that a scan found: a [[device]], and a [[tag]] for each thing
// that it told of. The key of one that encrypts is the name of a credential, never the key itself.
func Paste(line string, f field.Found) string {
	name := "ble-" + strings.ToLower(strings.ReplaceAll(f.Address, ":", ""))
	var b strings.Builder
	b.WriteString("[[device]]\n")
	if f.Identity != "" {
		fmt.Fprintf(&b, "# %s\n", strings.Map(printable, f.Identity))
	}
	fmt.Fprintf(&b, "name    = %q\nline    = %q\naddress = %q\n", name, line, f.Address)
	if f.Profile != "" {
		fmt.Fprintf(&b, "profile = %q\n", f.Profile)
		return b.String()
	}
	b.WriteString("protocol = \"ble\"\n")
	if f.Detail["encrypted"] != "" {
		fmt.Fprintf(&b, "quirks = { key = %q }    # a file of this name in the credentials folder, with the device's 32 hexadecimal digits\n", name+"-key")
	}
	measures := []string{"rssi"}
	if f.Detail["measures"] != "" {
		measures = append(strings.Split(f.Detail["measures"], ", "), "rssi")
	}
	for _, m := range measures {
		fmt.Fprintf(&b, "\n[[tag]]\ndevice = %q\nname   = %q\nat     = %q\n", name, strings.ReplaceAll(m, " ", "_"), m)
	}
	return b.String()
}

// printable keeps a name on its line, and from commanding a terminal, whatever a stranger calls itself.
func printable(r rune) rune {
	if !unicode.IsPrint(r) {
		return ' '
	}
	return r
}
