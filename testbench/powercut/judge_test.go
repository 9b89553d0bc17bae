//go:build linux && (amd64 || arm64)

package powercut

import (
	"fmt"
	"slices"
	"strings"
)

// judge keeps what the workers said, over all cuts, and holds each new life against it.
type judge struct {
	named      map[name]uint64  // number → ID
	name       map[uint64]name  // ID → number
	sides      map[string]*side // by destination
	onFlash    map[uint64]bool  // IDs
	floor      uint64           // of the present life's readings
	life       uint64
	epoch      uint32
	ready      bool
	complaints []string
	causes     map[string]int // spans of numbers that an event explained to somebody, by cause
}

// name is a record's number.
type name struct {
	class string
	epoch uint32
	seq   uint64
}

// side is what one destination knows.
type side struct {
	seen      map[name]bool // given to it
	acked     map[name]bool
	waiting   map[name]bool          // when the present life began
	explained map[string][][2]uint64 // by class and epoch
}

func newJudge() *judge {
	j := &judge{named: map[name]uint64{}, name: map[uint64]name{}, sides: map[string]*side{}, onFlash: map[uint64]bool{}, causes: map[string]int{}, epoch: 1}
	for _, d := range []string{fast, slow} {
		j.sides[d] = &side{seen: map[name]bool{}, acked: map[name]bool{}, explained: map[string][][2]uint64{}}
	}
	return j
}

func (j *judge) complain(format string, args ...any) {
	if len(j.complaints) < 20 {
		j.complaints = append(j.complaints, fmt.Sprintf("life %d: ", j.life)+fmt.Sprintf(format, args...))
	}
}

// begin is called when a new life begins: what was on flash is known from here.
func (j *judge) begin(life uint64) {
	for n := uint64(1); n <= j.floor; n++ {
		j.onFlash[j.life<<32|2<<28|n] = true
	}
	j.life, j.floor, j.ready = life, 0, false
	for _, s := range j.sides {
		s.waiting = map[name]bool{}
	}
}

var classOf = map[string]string{"data": "readings", "event": "events", "reply": "replies"}

// take takes one line.
func (j *judge) take(line string) {
	word, rest, _ := strings.Cut(line, " ")
	var dest, class string
	var n name
	var id, from, to, count uint64
	scan := func(format string, into ...any) {
		if _, err := fmt.Sscanf(rest, format, into...); err != nil {
			j.complain("cannot be read: %q", line)
		}
	}
	switch word {
	case "up":
		scan("%d", &n.epoch)
		if n.epoch != j.epoch {
			j.complain("the epoch is %d, and was %d: a whole store was set aside", n.epoch, j.epoch)
			j.epoch = n.epoch
		}
	case "ready":
		j.ready = true
		j.compare()
	case "f":
		scan("%d", &j.floor)
	case "t":
		scan("%s %d", &class, &id)
		j.onFlash[id] = true
	case "w", "g":
		scan("%s %s %d %d %d", &dest, &n.class, &n.epoch, &n.seq, &id)
		if n.seq == 0 || n.epoch >= 1<<31 {
			return // not numbered yet; or by a process whose disk was off already
		}
		j.call(n, id)
		if s := j.sides[dest]; word == "w" {
			if s.waiting[n] {
				j.complain("%v waits twice for %s", n, dest)
			}
			s.waiting[n] = true
		} else {
			s.seen[n] = true
		}
	case "k":
		scan("%s %s %d %d", &dest, &n.class, &n.epoch, &n.seq)
		j.sides[dest].acked[n] = true
	case "e":
		var topic, cause string
		scan("%s %s %d %d %d %d %s", &dest, &topic, &n.epoch, &from, &to, &count, &cause)
		if count == 0 || from == 0 || to < from {
			j.complain("an event explains nothing: %q", line)
		}
		s, k := j.sides[dest], fmt.Sprint(classOf[topic], n.epoch)
		if span := [2]uint64{from, to}; !slices.Contains(s.explained[k], span) {
			s.explained[k] = append(s.explained[k], span)
			j.causes[cause]++
		}
	default:
		j.complain("%s", line)
	}
}

// call notes that a number names a record: for ever, and no other.
func (j *judge) call(n name, id uint64) {
	if id == 0 {
		id = 1<<63 | n.seq // the store's own: any but a record's
	}
	if old, ok := j.named[n]; ok && old != id {
		j.complain("%v names two records, %x and %x", n, old, id)
	}
	j.named[n] = id
	if id>>63 == 0 {
		if old, ok := j.name[id]; ok && old != n {
			j.complain("record %x was %v, and came back as %v", id, old, n)
		}
		j.name[id] = n
	}
}

func (s *side) explains(n name) bool {
	return slices.ContainsFunc(s.explained[fmt.Sprint(n.class, n.epoch)], func(span [2]uint64) bool {
		return span[0] <= n.seq && n.seq <= span[1]
	})
}

// compare holds what waits at the beginning of a life against all that was known before.
func (j *judge) compare() {
	for dest, s := range j.sides {
		// What was on flash has come, waits, or is explained. What has no number that anybody saw is one of those
		// numbers that are explained and that nobody saw.
		nameless, lost := 0, 0
		for id := range j.onFlash {
			n, ok := j.name[id]
			switch {
			case !ok:
				nameless++
			case !s.seen[n] && !s.waiting[n] && !s.explains(n):
				lost++
				if lost < 4 {
					j.complain("%v was on flash, and %s neither got it, nor does it wait, nor does an event explain it", n, dest)
				}
			case s.seen[n] && !s.acked[n] && !s.waiting[n] && !s.explains(n):
				lost++
				if lost < 4 {
					j.complain("%v was given to %s and not acknowledged, and waits no more", n, dest)
				}
			}
		}
		// Every number up to the last that was used is a record's, or explained.
		last := map[name]uint64{} // by class and epoch
		for n := range j.named {
			k := name{class: n.class, epoch: n.epoch}
			last[k] = max(last[k], n.seq)
		}
		unseen := 0
		for k, to := range last {
			for seq := uint64(1); seq <= to; seq++ {
				n := name{k.class, k.epoch, seq}
				if _, known := j.named[n]; !known {
					unseen++
				}
				if n.class != "replies" && !s.seen[n] && !s.waiting[n] && !s.explains(n) {
					lost++
					if lost < 4 {
						j.complain("%v is a gap that no event explains to %s", n, dest)
					}
				}
			}
		}
		if nameless > unseen {
			j.complain("%d records were on flash and never got a number that was seen; only %d numbers are explained like that", nameless, unseen)
		}
		if lost > 0 {
			j.complain("%d undeclared losses for %s", lost, dest)
		}
	}
}
