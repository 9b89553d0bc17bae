package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/profile"
	"edgegateway/adapters/profile/strict"
)

// Periods where neither the device nor its profile says one.
const (
	defaultEvery     = 10 * time.Second
	defaultSlow      = 15 * time.Minute
	defaultHeartbeat = 15 * time.Minute
	defaultSilent    = 10 * time.Minute // of a device on a radio
)

// deviceEntry is one [[device]] while it is read, also one that cannot run.
type deviceEntry struct {
	Device
	table   *strict.Table
	tags    []*strict.Table
	later   string // what of it only a later build has; "" for nothing
	unknown bool   // the device's tags are not all known, so that names of tags cannot be judged
	idle    string // why it is not polled, when the fault is not its own
}

func (l *loader) readDevices() {
	var entries []*deviceEntry
	tables := l.tables("device")
	if len(tables) == 0 && l.config.Gateway.Name != "" {
		l.report.Add(l.config.Problem(Warning, KindGateway, "", "", "there is no [[device]]: nothing is polled", ""))
	}
	for _, t := range tables {
		e := &deviceEntry{table: t}
		e.Name = t.NeedName("name", `a name for the device: name = "pump-1"`)
		if e.Name != "" {
			t.Where = fmt.Sprintf("device %q", e.Name)
		}
		l.claim(KindDevice, e.Name, t)
		if _, taken := l.devices[e.Name]; !taken {
			l.devices[e.Name] = e
		}
		entries = append(entries, e)
	}
	l.assignTags()
	for _, e := range entries {
		l.readDevice(e)
		switch {
		case e.table.Failed():
			if p, known := l.build.Protocols[e.Protocol]; known && !p.Later {
				l.config.Faulty = append(l.config.Faulty, e.Device)
			}
		case e.later != "":
			e.table.Warn(e.laterKey(), "not in this build: "+e.later+"; the device is not polled", "")
		case e.idle != "":
			e.table.Warn("", e.idle+"; the device is not polled", "")
		default:
			l.config.Devices = append(l.config.Devices, e.Device)
		}
	}
}

// laterKey is the key that asks for what this build does not have.
func (e *deviceEntry) laterKey() string {
	if e.table.Has("profile") {
		return "profile"
	}
	return "protocol"
}

// assignTags gives each [[tag]] to its device.
func (l *loader) assignTags() {
	names := slices.Sorted(maps.Keys(l.devices))
	for _, t := range l.tables("tag") {
		device := t.Need("device", `the device that it belongs to: device = "pump-1"`)
		e := l.devices[device]
		if e != nil {
			e.tags = append(e.tags, t)
			continue
		}
		if device != "" {
			t.Complain("device", "there is no such device", strict.Choices(device, names))
		}
		profile.ReadTag(t, "[[tag]]", l.allTagKeys())
	}
}

// allTagKeys are the keys of every protocol's tags, for a tag whose protocol cannot be told.
func (l *loader) allTagKeys() []string {
	var keys []string
	for _, p := range l.build.Protocols {
		keys = append(keys, p.TagKeys...)
	}
	return keys
}

func (l *loader) readDevice(e *deviceEntry) {
	t := e.table
	line := l.readLineOf(e)
	kind := l.readKind(e)
	l.checkLineKind(e, line)
	e.Address = t.Need("address", `the device's address on its line, in quotes: address = "1"`)
	e.readMode(line)
	e.Password = readCredential(t, "password", false)
	l.readTags(e, kind)

	defaults := profile.Profile{}
	if kind != nil {
		defaults = *kind
	}
	every, slow, timeout := defaults.Every, defaults.Slow, defaults.Timeout
	if every == 0 {
		every = defaultEvery
	}
	if slow == 0 {
		slow = defaultSlow
	}
	if timeout == 0 && line != nil {
		timeout = line.Timeout
	}
	e.Every = t.Duration("every", every, profile.LeastPeriod, profile.MostPeriod)
	e.Slow = t.Duration("slow", max(slow, e.Every), profile.LeastPeriod, profile.MostPeriod)
	if e.Slow < e.Every {
		t.Complain("slow", "the slow group would be read more often than the others: every = "+strconv.Quote(strict.Duration(e.Every)),
			"make slow longer than every, or leave it out")
	}
	e.Timeout = t.Duration("timeout", timeout, profile.LeastTimeout, profile.MostTimeout)
	silent := time.Duration(0)
	if line != nil && line.kind == KindRadio {
		silent = defaultSilent
	}
	e.SilentAfter = t.Duration("silent_after", silent, time.Second, profile.MostPeriod)
	if p, known := l.build.Protocols[e.Protocol]; known && !p.Listens && t.Has("silent_after") {
		t.Complain("silent_after", "the device is polled and does not speak by itself", "leave the key out: a polled device that does not answer is marked at once")
	}
	e.Quirks = maps.Clone(defaults.Quirks)
	for key, value := range t.Scalars("quirks", `write what the device does otherwise: quirks = { max_registers = 60 }`) {
		if e.Quirks == nil {
			e.Quirks = map[string]string{}
		}
		e.Quirks[key] = value
	}
	e.readOnlyChanges()
	e.readWritable()
	t.Done(nil)
}

// readMode reads the mode that the device is spoken to at, where it is not the line's.
func (e *deviceEntry) readMode(line *lineEntry) {
	e.Mode = e.table.Text("mode")
	if e.Mode == "" {
		return
	}
	switch fault := modeFault(e.Mode); {
	case fault != "":
		e.table.Complain("mode", fault, modeHint)
	case line != nil && line.kind != "" && line.kind != KindPort:
		e.table.Complain("mode", "this line has a "+line.kind+", and no mode", "leave mode out; a serial device server is set up with its own tools")
	}
}

// readLineOf finds the device's line; nil when there is none.
func (l *loader) readLineOf(e *deviceEntry) *lineEntry {
	e.Line = e.table.Need("line", `the name of the [[line]] that it hangs on: line = "rs485-1"`)
	line := l.lines[e.Line]
	switch {
	case e.Line == "":
	case line == nil:
		e.table.Complain("line", "there is no such line", strict.Choices(e.Line, slices.Sorted(maps.Keys(l.lines))))
	case line.table.Failed():
		e.idle = fmt.Sprintf("line %q has faults", e.Line)
	case line.later:
		e.idle = fmt.Sprintf("line %q is not in this build", e.Line)
	}
	return line
}

// readKind finds the device's profile, nil when it has none, and its protocol.
func (l *loader) readKind(e *deviceEntry) *profile.Profile {
	t := e.table
	e.Profile, e.Protocol = t.Text("profile"), t.Text("protocol")
	if !t.Has("profile") && !t.Has("protocol") {
		t.Missing("profile", `a profile that knows the device's tags: profile = "eastron-sdm630"; or protocol = "modbus" and a [[tag]] for each tag`)
	}
	if _, known := l.build.Protocols[e.Protocol]; e.Protocol != "" && !known {
		t.Complain("protocol", "there is no such protocol", strict.Choices(e.Protocol, l.build.protocolNames()))
		e.unknown = true
	}
	if e.Profile == "" {
		l.checkLater(e, "")
		return nil
	}
	kind, later := l.profiles[e.Profile], profile.Later()
	protocol := ""
	switch {
	case kind != nil && kind.Failed():
		e.unknown, e.idle = true, fmt.Sprintf("profile %q has faults", e.Profile)
		protocol = kind.Protocol
	case kind != nil:
		protocol = kind.Protocol
	case later[e.Profile] != "":
		e.unknown, protocol = true, later[e.Profile]
		e.later = fmt.Sprintf("profile %q (protocol %s)", e.Profile, protocol)
	default:
		e.unknown = true
		t.Complain("profile", "there is no such profile", profileHint(strict.Nearest(e.Profile, l.profileNames())))
	}
	switch {
	case e.Protocol == "":
		e.Protocol = protocol
	case protocol != "" && e.Protocol != protocol:
		t.Complain("protocol", fmt.Sprintf("profile %q is of protocol %q", e.Profile, protocol), "leave protocol out")
	}
	l.checkLater(e, protocol)
	return kind
}

// profileHint names the profile that may be meant. There are too many for a list of them all.
func profileHint(near string) string {
	const list = "`gatewayd profile list` lists them all"
	if near == "" {
		return list
	}
	return fmt.Sprintf("did you mean %q? %s", near, list)
}

// checkLater notes that the device's protocol is one of a later build.
func (l *loader) checkLater(e *deviceEntry, protocol string) {
	if e.later == "" && l.build.Protocols[e.Protocol].Later {
		e.later = fmt.Sprintf("protocol %q", e.Protocol)
		if protocol != "" {
			e.later = fmt.Sprintf("profile %q (protocol %s)", e.Profile, protocol)
		}
	}
}

// profileNames lists every known profile, sorted.
func (l *loader) profileNames() []string {
	names := slices.Collect(maps.Keys(l.profiles))
	for name := range profile.Later() {
		if l.profiles[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// checkLineKind complains about a protocol that does not run on the device's line.
func (l *loader) checkLineKind(e *deviceEntry, line *lineEntry) {
	protocol, known := l.build.Protocols[e.Protocol]
	if line == nil || line.kind == "" || !known || slices.Contains(protocol.Lines, line.kind) {
		return
	}
	e.table.Complain("line", fmt.Sprintf("this line has a %s, and protocol %s does not run on it", line.kind, e.Protocol),
		fmt.Sprintf("protocol %s runs on lines with: %s", e.Protocol, strings.Join(protocol.Lines, ", ")))
}

// readTags reads the device's own tags, behind those of its profile.
func (l *loader) readTags(e *deviceEntry, kind *profile.Profile) {
	if kind != nil {
		e.Tags = slices.Clone(kind.Tags)
	}
	own := l.build.Protocols[e.Protocol].TagKeys
	if e.Protocol == "" || e.unknown {
		own = l.allTagKeys()
	}
	for _, t := range e.tags {
		tag := profile.ReadTag(t, e.table.Where, own)
		if kind != nil && kind.Tag(tag.Name) != nil {
			t.Complain("name", fmt.Sprintf("profile %q has a tag of this name", e.Profile), "give the tag another name, or put a profile of your own into the profiles folder")
		} else if tag.Name != "" {
			l.claim(KindTag, e.Name+"/"+tag.Name, t)
		}
		if t.Failed() {
			e.table.Fail()
		}
		if e.tagIndex(tag.Name) < 0 {
			e.Tags = append(e.Tags, tag)
		}
	}
	if len(e.Tags) == 0 && e.Profile == "" && e.table.Has("protocol") {
		e.table.Complain("", "the device has no tags", fmt.Sprintf("name a profile, or add a [[tag]] with device = %q for each tag", e.Name))
	}
}

// readWritable reads what may be written.
func (e *deviceEntry) readWritable() {
	for _, v := range e.table.Values("writable") {
		if i := e.tagIndex(v.AsText()); i >= 0 {
			e.Tags[i].Write = true
			e.Writable = append(e.Writable, v.AsText())
			for _, name := range slices.Sorted(maps.Keys(e.Tags[i].Requires)) {
				if e.tagIndex(name) < 0 {
					e.table.ComplainOf("writable", v, fmt.Sprintf("it requires a value of the tag %q, which the device does not have", name), strict.Choices(name, e.tagNames()))
				}
			}
		} else if !e.unknown {
			e.table.ComplainOf("writable", v, "the device has no such tag", strict.Choices(v.AsText(), e.tagNames()))
		}
	}
}

// readOnlyChanges reads only_changes = true, or a table of tag = deadband, in which "*" is every other tag.
func (e *deviceEntry) readOnlyChanges() {
	t := e.table
	const key = "only_changes"
	v, ok := t.Find(key)
	flag, isFlag := v.IsFlag()
	switch {
	case !ok:
		t.Ignore(key)
	case isFlag:
		t.Ignore(key)
		if flag {
			e.OnlyChanges = map[string]Deadband{"": {}}
		}
	default:
		e.readDeadbands(t.Inner(key, `write only_changes = true, or { level = "2%" }, with "*" for every other tag`))
	}
	e.Heartbeat = t.Duration("heartbeat", 0, time.Second, profile.MostPeriod)
	switch {
	case t.Has("heartbeat") && e.OnlyChanges == nil && !t.Failed():
		t.Complain("heartbeat", "without only_changes every value is sent anyway", "leave heartbeat out, or add only_changes = true")
	case !t.Has("heartbeat") && e.OnlyChanges != nil:
		e.Heartbeat = max(defaultHeartbeat, e.Every)
	}
}

func (e *deviceEntry) readDeadbands(t *strict.Table) {
	if t == nil {
		return
	}
	e.OnlyChanges = map[string]Deadband{}
	for _, name := range t.Keys() {
		t.Ignore(name)
		v, _ := t.Find(name)
		band, fault := deadband(v)
		if fault != "" {
			t.Complain(name, fault, `allowed: a number in the tag's unit, such as 0.5; of the last value sent, such as "2%"; or true for every change`)
			continue
		}
		switch {
		case name == "*":
			name = ""
		case e.tagIndex(name) < 0 && !e.unknown:
			t.Complain(name, "the device has no such tag", strict.Choices(name, append(e.tagNames(), "*")))
		}
		e.OnlyChanges[name] = band
	}
	t.Done(nil)
}

// deadband reads one deadband, or says what is wrong with it.
func deadband(v strict.Value) (band Deadband, fault string) {
	if flag, ok := v.IsFlag(); ok && flag {
		return Deadband{}, ""
	}
	if n, ok := v.Number(); ok {
		if n < 0 {
			return Deadband{}, "a deadband cannot be negative"
		}
		return Deadband{Absolute: n}, ""
	}
	percent, ok := strings.CutSuffix(v.AsText(), "%")
	n, err := strconv.ParseFloat(strings.TrimSpace(percent), 64)
	switch {
	case !v.IsText() || !ok || err != nil:
		return Deadband{}, "this is no deadband"
	case !(n >= 0 && n <= 100):
		return Deadband{}, "a deadband is 0% to 100%"
	}
	return Deadband{Percent: n}, ""
}

func (e *deviceEntry) tagIndex(name string) int {
	return slices.IndexFunc(e.Tags, func(t field.Tag) bool { return t.Name == name })
}

func (e *deviceEntry) tagNames() []string {
	names := make([]string, len(e.Tags))
	for i, t := range e.Tags {
		names[i] = t.Name
	}
	return names
}
