package field

import "time"

// Cost is what one read of one group takes of its line, by the plan of the moment: bytes and silences, from which
// whoever knows the line's mode can tell the time.
type Cost struct {
	Exchanges int           // requests, each with its answer
	Sent      int           // bytes out, framing included, all requests together
	Received  int           // bytes back, framing included, all answers together
	Pause     time.Duration // silences and turnaround beyond the wire time, in total
	Timeout   time.Duration // what one exchange takes that nobody answers, its wire time apart
	Mode      string        // the line mode that it is spoken at, such as "2400 8E1"; "" is the line's own
}

// Time is what the read takes on a line with characters of the given wire time; 0 for a line without bit times, such
// as TCP.
func (c Cost) Time(char time.Duration) time.Duration {
	return time.Duration(c.Sent+c.Received)*char + c.Pause
}

// Coster is a Station that can foretell what a read costs.
type Coster interface {
	// Cost is of the group as it is planned now. It does no I/O. Until the device was met its turnaround is the one
	// that the protocol, the profile or the device's quirks let expect. A group that the device does not have costs
	// nothing.
	Cost(group string) Cost
}
