package field

// Quality says why a tag has, or has not, a value in a record.
type Quality uint8

// The qualities. Good is the zero value; the others up to Uncertain are the words of the data contract. Absent marks
// a tag that the record does not speak of at all (unchanged under only_changes), so it is never sent.
const (
	Good      Quality = iota
	Timeout           // the device, or the part of it that holds the tag, did not answer in time
	Exception         // the device answered that it cannot give this tag
	Offline           // the device is taken for dead, or its line is down: nothing was asked
	Invalid           // the answer cannot be a value of the tag's type: sentinel, NaN, bad BCD digit
	Stale             // the device gave a value, and said or showed that it is old
	Uncertain         // the device gave a value, and said that it may be wrong
	Absent
)

var qualityNames = [...]string{"good", "timeout", "exception", "offline", "invalid", "stale", "uncertain", "absent"}

// String is the word of the data contract.
func (q Quality) String() string {
	if int(q) < len(qualityNames) {
		return qualityNames[q]
	}
	return "invalid"
}

// Class is the rank in which records are made durable and sent: replies before events before readings.
type Class uint8

// The classes, most urgent first.
const (
	Replies Class = iota
	Events
	Readings
)

// Classes lists every class, most urgent first.
var Classes = [...]Class{Replies, Events, Readings}

// String is the class's name as status and metrics print it.
func (c Class) String() string {
	switch c {
	case Replies:
		return "replies"
	case Events:
		return "events"
	case Readings:
		return "readings"
	}
	return "class?"
}

// Trust says how far a Stamp can be believed.
type Trust uint8

// The trust levels; Synchronised is the zero value and needs no word on the wire.
const (
	Synchronised Trust = iota
	Corrected          // taken before the clock was synchronised, put right since
	Estimated          // the clock was never yet synchronised since this boot
)

// String is the contract's word for "tq"; "" when synchronised.
func (t Trust) String() string {
	switch t {
	case Corrected:
		return "corrected"
	case Estimated:
		return "estimated"
	}
	return ""
}

// Stamp is a moment. Wall is what the clock said; Boot and Mono let a later reader put it right when Wall could not
// be believed.
type Stamp struct {
	Wall  int64  // Unix milliseconds, UTC
	Mono  int64  // milliseconds since boot, suspended time included (CLOCK_BOOTTIME)
	Boot  uint32 // which boot of this box: an ordinal kept by gatewayd/clock; 0 when unknown
	Trust Trust
}

// Point is what a record's reader must know of one tag: its name, unit and type are known from here and are not
// carried with each value.
type Point struct {
	Name string
	Kind Kind   // of its good values
	Unit string // SI or trade notation, "" for none
}

// Group is the shape of the records that one group of one device yields. It is immutable once built and shared by
// pointer; two groups are the same shape when Device, Name and Points are equal.
type Group struct {
	Device  string
	Name    string // MainGroup, SlowGroup
	Profile string // "" when the tags stand in the configuration
	Points  []Point
}

// The groups of a device: what is read every period, and what is read in the slow one.
const (
	MainGroup = "main"
	SlowGroup = "slow"
)

// Member is one further member of an event, in the order in which it is written.
type Member struct {
	Name  string
	Value Value
}

// Event is something that happened: a change of an event tag, a device gone offline, a declared loss.
type Event struct {
	Kind    string // a word of the contract: "change", "device_offline", "loss", …
	Subject string // what it happened to: "pump-1/running", "rs485-1"; "" for the gateway itself
	Text    string // one sentence for people; may be ""
	More    []Member
}

// Record is what travels through the house: what one read of one device's group yielded, or one event, or one reply.
// Exactly one of Group, Event and Reply is set.
type Record struct {
	Seq     uint64 // given by the buffer when it takes the record; 0 before. Counts each class apart.
	At      Stamp
	Group   *Group    // of a reading record: the shape of Values
	Values  []Value   // one for each of Group.Points; null where Quality is not Good
	Quality []Quality // one for each of Group.Points; nil when all are Good
	Event   *Event
	Reply   []byte // a command's reply, as the JSON that command.Reply prints
}

// Class tells how urgent the record is.
func (r *Record) Class() Class {
	switch {
	case r.Reply != nil:
		return Replies
	case r.Event != nil:
		return Events
	default:
		return Readings
	}
}

// QualityOf gives the quality of the i-th point.
func (r *Record) QualityOf(i int) Quality {
	if r.Quality == nil {
		return Good
	}
	return r.Quality[i]
}

// Readings counts the points that the record says anything of: those that are not Absent.
func (r *Record) Readings() int {
	n := len(r.Values)
	for _, q := range r.Quality {
		if q == Absent {
			n--
		}
	}
	return n
}
