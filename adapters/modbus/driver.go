package modbus

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goburrow/modbus"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/modbus/register"
)

// Framing is the way in which PDUs are packed on a line.
type Framing uint8

// The framings. RTU and ASCII are for serial lines and for serial servers that hand frames through; TCP is Modbus TCP,
// with its MBAP header.
const (
	RTU Framing = iota
	TCP
	ASCII
)

var framingNames = [...]string{"rtu", "tcp", "ascii"}

// ParseFraming reads the configuration's word for a framing: "rtu", "tcp" or "ascii".
func ParseFraming(s string) (Framing, error) {
	if i := slices.Index(framingNames[:], s); i >= 0 {
		return Framing(i), nil
	}
	return 0, fmt.Errorf("framing %q is not known: allowed are %s", s, strings.Join(framingNames[:], ", "))
}

// String is the configuration's word.
func (f Framing) String() string { return framingNames[f] }

// pdu gives the part of a whole frame that says something, from the function code on. The frame is intact.
func (f Framing) pdu(adu []byte) []byte {
	switch f {
	case TCP:
		return adu[headerSize:]
	case ASCII:
		_, pdu, _ := fromASCII(adu)
		return pdu
	default:
		return adu[1 : len(adu)-2]
	}
}

// size is how many bytes a frame with a PDU of the given length has on the wire.
func (f Framing) size(pdu int) int {
	switch f {
	case TCP:
		return headerSize + pdu
	case ASCII:
		return asciiOverhead + 2*pdu
	default:
		return 3 + pdu
	}
}

// Options are a line's settings; the zero value serves.
type Options struct {
	// Timeout for one answer of a device that does not state its own; 1 s by default.
	Timeout time.Duration
	// Guard is how long after an unanswered request its answer may still come in; 1 s by default. Not on TCP.
	Guard time.Duration
}

const (
	defaultTimeout = time.Second
	defaultGuard   = time.Second
)

// Driver is Modbus on one line. It implements field.Driver. Its stations, like the line, belong to one goroutine.
type Driver struct {
	line    link.Line
	framing Framing
	options Options

	asked  question    // what is on the line now
	find   link.Framer // finds its answer
	stray  link.Framer // finds what answers a request that was given up
	late   []lateness  // requests given up whose answers may still come
	lastID uint16      // transaction id, counted per line: two units on one socket must not share one
	echoes int         // > 0 when the line gives back what we send: see isEcho
	heard  bool        // an answer came that could not be an echo, so echoes can be believed
}

// New makes a driver on a line. With a nil line it binds, and every exchange fails with field.ErrLine.
func New(line link.Line, framing Framing, options Options) *Driver {
	if line == nil {
		line = link.None()
	}
	if options.Timeout <= 0 {
		options.Timeout = defaultTimeout
	}
	if options.Guard <= 0 {
		options.Guard = defaultGuard
	}
	d := &Driver{line: line, framing: framing, options: options}
	d.find, d.stray = d.findRTU, d.findStray
	switch framing {
	case TCP:
		d.find = d.findTCP
	case ASCII:
		d.find, d.stray = d.findASCII, d.findStrayASCII
	}
	return d
}

// packager packs PDUs for one unit. The handlers' transports stay unopened.
func (d *Driver) packager(unit byte) modbus.Packager {
	if d.framing == TCP {
		h := modbus.NewTCPClientHandler("")
		h.SlaveId = unit
		return h
	}
	if d.framing == ASCII {
		h := modbus.NewASCIIClientHandler("")
		h.SlaveId = unit
		return h
	}
	h := modbus.NewRTUClientHandler("")
	h.SlaveId = unit
	return h
}

// Bind checks a device and plans its requests, as field.Driver says. The station is a *Station.
func (d *Driver) Bind(dev field.Device) (field.Station, error) {
	var faults []error
	q, errs := parseQuirks(dev.Quirks)
	unit, err := d.unit(dev.Address, q.broadcast)
	if err != nil {
		faults = append(faults, err)
	}
	faults = append(faults, errs...)

	s := &Station{
		driver:  d,
		unit:    unit,
		quirks:  q,
		mode:    dev.Mode,
		mute:    q.broadcast,
		timeout: firstPositive(dev.Timeout, d.options.Timeout),
		byName:  make(map[string]*register.Point, len(dev.Tags)),
		limit:   q.limits(),
	}
	main := group{shape: &field.Group{Device: dev.Name, Name: field.MainGroup, Profile: dev.Profile}}
	slow := group{shape: &field.Group{Device: dev.Name, Name: field.SlowGroup, Profile: dev.Profile}}
	for _, tag := range dev.Tags {
		p, errs := register.NewPoint(tag)
		if len(errs) == 0 {
			errs = s.accept(p)
			if s.mute {
				errs = append(errs, s.checkMute(p)...)
			}
		}
		g := &main
		switch tag.Group {
		case "", field.MainGroup:
		case field.SlowGroup:
			g = &slow
		default:
			errs = append(errs, &field.TagError{Tag: tag.Name, Key: "group", Value: tag.Group, Problem: "no such group",
				Hint: field.Suggest(tag.Group, field.MainGroup, field.SlowGroup)})
		}
		if s.byName[tag.Name] != nil {
			errs = append(errs, &field.TagError{Tag: tag.Name, Key: "name", Value: tag.Name, Problem: "this device has two tags of that name"})
		}
		if len(errs) > 0 {
			faults = append(faults, errs...)
			continue
		}
		s.byName[tag.Name] = p
		s.describes = s.describes || p.Described != nil
		g.add(p)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	s.packager = d.packager(unit)
	for _, g := range []group{main, slow} {
		if len(g.points) > 0 {
			g.sort()
			s.groups = append(s.groups, g)
			s.shapes = append(s.shapes, g.shape)
		}
	}
	s.replan()
	return s, nil
}

// unit reads a device's address.
func (d *Driver) unit(address string, broadcast bool) (byte, error) {
	fault := func(problem, hint string) (byte, error) {
		return 0, &field.DeviceError{Key: "address", Value: address, Problem: problem, Hint: hint}
	}
	allowed := `allowed are "1" to "247"`
	if d.framing == TCP {
		allowed = `allowed are "1" to "247", and "255" or "0" for a device that is alone behind its TCP address`
	}
	if address == "" {
		return fault("the Modbus unit address is missing", allowed)
	}
	n, err := strconv.ParseUint(address, 10, 16)
	switch {
	case err != nil:
		return fault("this is no Modbus unit address", allowed)
	case broadcast && (n != 0 || d.framing == TCP):
		return fault("the quirk broadcast is for the address 0 of a serial line", `write address = "0", or leave the quirk out`)
	case broadcast:
		return 0, nil
	case n >= 1 && n <= 247:
		return byte(n), nil
	case d.framing == TCP && (n == 0 || n == 255):
		return byte(n), nil
	case n == 0:
		return fault("0 is the broadcast address, which no device answers", allowed+`; quirks = { broadcast = true } makes a device of it that is only written`)
	default:
		return fault("this is no Modbus unit address", allowed)
	}
}

func firstPositive(ds ...time.Duration) time.Duration {
	for _, d := range ds {
		if d > 0 {
			return d
		}
	}
	return 0
}
