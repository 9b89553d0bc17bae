package advert

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"edgegateway/adapters/field"
)

// Source is the kind of field of an advertisement that carries data.
type Source uint8

// The sources, by their AD types (Core Specification Supplement, part A, 1.4 and 1.11).
const (
	Service      Source = iota // service data, AD type 0x16
	Manufacturer               // manufacturer specific data, AD type 0xFF
)

// String is the word of the configuration: "service", "manufacturer".
func (s Source) String() string {
	if s == Manufacturer {
		return "manufacturer"
	}
	return "service"
}

// Field is one such field: the 16-bit UUID of the service or the number of the company, and what stands behind it.
type Field struct {
	Source Source
	ID     uint16
	Data   []byte
}

// Format is a notation that this package reads.
type Format uint8

// The formats.
const (
	Unknown Format = iota
	BTHome
	Ruuvi5
	TLM
	IBeacon
	MiBeacon
	ATC
	PVVX
)

var formatNames = [...]string{"unknown", "bthome", "ruuvi", "eddystone-tlm", "ibeacon", "mibeacon", "atc", "pvvx"}

// String names the format as the configuration and `scan` do.
func (f Format) String() string { return formatNames[f] }

// FormatNames are the names of the formats that can be decoded.
func FormatNames() []string { return formatNames[1:] }

// The services and companies whose data is known.
const (
	uuidBTHome       = 0xFCD2
	uuidMiBeacon     = 0xFE95
	uuidEddystone    = 0xFEAA
	uuidEnvironment  = 0x181A // of ATC and PVVX
	companyRuuvi     = 0x0499
	companyApple     = 0x004C
	ruuviFormat5     = 0x05
	eddystoneTLM     = 0x20
	iBeaconType      = 0x02
	iBeaconRemaining = 0x15
	atcSize          = 13
	pvvxSize         = 15
)

// Sources lists the fields that the formats stand in, for a filter: data is nil.
func Sources() []Field {
	return []Field{{Service, uuidBTHome, nil}, {Service, uuidMiBeacon, nil}, {Service, uuidEddystone, nil},
		{Service, uuidEnvironment, nil}, {Manufacturer, companyRuuvi, nil}, {Manufacturer, companyApple, nil}}
}

// Recognise tells the format of a field; Unknown for those that this package cannot read.
func Recognise(f Field) Format {
	d := f.Data
	switch {
	case len(d) == 0:
	case f.Source == Service && f.ID == uuidBTHome && d[0]>>5 == bthomeVersion:
		return BTHome
	case f.Source == Service && f.ID == uuidMiBeacon && len(d) >= miHeader:
		return MiBeacon
	case f.Source == Service && f.ID == uuidEddystone && d[0] == eddystoneTLM:
		return TLM
	case f.Source == Service && f.ID == uuidEnvironment && len(d) == atcSize:
		return ATC
	case f.Source == Service && f.ID == uuidEnvironment && len(d) == pvvxSize:
		return PVVX
	case f.Source == Manufacturer && f.ID == companyRuuvi && d[0] == ruuviFormat5:
		return Ruuvi5
	case f.Source == Manufacturer && f.ID == companyApple && len(d) >= 2 && d[0] == iBeaconType && d[1] == iBeaconRemaining:
		return IBeacon
	}
	return Unknown
}

// Encrypted says that a field of a known format is encrypted, so that a key is needed.
func Encrypted(f Field) bool {
	switch Recognise(f) {
	case BTHome:
		return f.Data[0]&bthomeEncrypted != 0
	case MiBeacon:
		return f.Data[0]&miEncrypted != 0
	}
	return false
}

// Measure is one quantity that a frame tells of. Its value is null where the device said that it has none.
type Measure struct {
	Name  string // a key of the table of quantities
	Nth   int    // 1 for the first of this name in the frame, 2 for the second, …
	Value field.Value
}

// Frame is what one field said.
type Frame struct {
	Format   Format
	Repeat   bool      // the device sent the same message before: a sign of life, and nothing new
	Sealed   bool      // it was decrypted with the device's key: nobody else made it
	Measures []Measure // valid until the Decoder's next Decode
}

// Errors of Decode; they are wrapped with what was wrong.
var (
	ErrUnknown   = errors.New("not a known format")
	ErrTruncated = errors.New("cut short")
	ErrObject    = errors.New("unknown object")
	ErrKey       = errors.New("cannot be decrypted")
	ErrReplay    = errors.New("replayed")
)

// Decoder decodes the advertisements of one device. It is not safe for concurrent use.
type Decoder struct {
	mac      [6]byte
	seal     *ccm
	restarts bool

	plain    [len(formatNames)]counter // numbers that anybody could have sent: they tell repeats apart, no more
	sealed   [len(formatNames)]counter // numbers of authentic messages
	measures []Measure
	opened   bool // the message at hand was encrypted, and is believed
}

// counter is the last message number of one format.
type counter struct {
	known bool
	last  uint32
}

// note notes a message's number, and says whether it is the one that was there last.
func (c *counter) note(n uint32) (repeat bool) {
	repeat = c.known && c.last == n
	c.known, c.last = true, n
	return repeat
}

// tagLength is that of both encrypted formats.
const tagLength = 4

// NewDecoder makes a decoder for the device of this address. key is the device's own, KeySize bytes, or nil for a
// device that does not encrypt. With restarts a device may begin to count its encrypted messages anew (some do after a
// change of battery); otherwise a lower number is a replay for ever.
func NewDecoder(mac [6]byte, key []byte, restarts bool) (*Decoder, error) {
	d := &Decoder{mac: mac, restarts: restarts}
	if key == nil {
		return d, nil
	}
	if len(key) != KeySize {
		return nil, fmt.Errorf("the key has %d bytes, and %d are needed", len(key), KeySize)
	}
	var err error
	d.seal, err = newCCM(key, tagLength)
	return d, err
}

// KeySize is the length of a device's key, in bytes.
const KeySize = 16

// ParseKey reads a key as people keep it: 32 hexadecimal digits, with white space around it or between.
func ParseKey(text string) ([]byte, error) {
	key, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil || len(key) != KeySize {
		return nil, fmt.Errorf("this is no key: %d hexadecimal digits are needed", 2*KeySize)
	}
	return key, nil
}

// ParseMAC reads an address as it is written, "C4:AB:12:34:56:78", the most significant byte first.
func ParseMAC(text string) (mac [6]byte, ok bool) {
	if len(text) != 17 {
		return mac, false
	}
	for i := range mac {
		if i > 0 && text[3*i-1] != ':' {
			return mac, false
		}
		if _, err := hex.Decode(mac[i:i+1], []byte(text[3*i:3*i+2])); err != nil {
			return mac, false
		}
	}
	return mac, true
}

// Decode reads one field. Errors wrap ErrUnknown, ErrTruncated, ErrObject, ErrKey or ErrReplay, and there is no value
// then. Replays are judged by the numbers of authentic messages alone: nothing that is not encrypted moves them.
func (d *Decoder) Decode(f Field) (Frame, error) {
	d.measures, d.opened = d.measures[:0], false
	format := Recognise(f)
	var repeat bool
	var err error
	switch format {
	case BTHome:
		repeat, err = d.bthome(f.Data)
	case Ruuvi5:
		repeat, err = d.ruuvi(f.Data)
	case TLM:
		repeat, err = d.tlm(f.Data)
	case IBeacon:
		err = d.ibeacon(f.Data)
	case MiBeacon:
		repeat, err = d.mibeacon(f.Data)
	case ATC:
		repeat = d.atc(f.Data)
	case PVVX:
		repeat = d.pvvx(f.Data)
	default:
		err = fmt.Errorf("%w: %s data of %04X", ErrUnknown, f.Source, f.ID)
	}
	if err != nil {
		return Frame{Format: format}, err
	}
	return Frame{Format: format, Repeat: repeat, Sealed: d.opened, Measures: d.measures}, nil
}

// count notes the number of a message that is not encrypted, and says whether it is the one that was there last.
func (d *Decoder) count(f Format, n uint32) (repeat bool) { return d.plain[f].note(n) }

// lowRestart is below what a number must be for a restart of the count to be believed.
const lowRestart = 100

// admit judges the number of an authentic encrypted message, notes one that is believed, and says whether it is the one
// that was there last.
func (d *Decoder) admit(f Format, n uint32) (repeat bool, err error) {
	c := &d.sealed[f]
	if c.known && n < c.last && !(d.restarts && n < lowRestart) {
		return false, fmt.Errorf("%w: message %d after %d: recorded and sent again by somebody, or the device began to count anew", ErrReplay, n, c.last)
	}
	d.opened = true
	return c.note(n), nil
}

// SealedFormats are the formats that may be encrypted.
func SealedFormats() []Format { return []Format{BTHome, MiBeacon} }

// Last gives the number of the last encrypted message of a format that was believed; ok is false before the first.
func (d *Decoder) Last(f Format) (n uint32, ok bool) { return d.sealed[f].last, d.sealed[f].known }

// Resume goes on behind an encrypted message that another Decoder with this address and key believed last.
func (d *Decoder) Resume(f Format, n uint32) { d.sealed[f].note(n) }

// tell adds a measure to the frame.
func (d *Decoder) tell(name string, v field.Value) {
	nth := 1
	for i := range d.measures {
		if d.measures[i].Name == name {
			nth++
		}
	}
	d.measures = append(d.measures, Measure{name, nth, v})
}

// short is the error for a frame that ends too early.
func short(f Format, got, want int) error {
	return fmt.Errorf("%s: %w: %d bytes, and %d are needed", f, ErrTruncated, got, want)
}
