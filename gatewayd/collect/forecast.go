package collect

import (
	"time"

	"edgegateway/adapters/field"
)

// Load is what a line's devices need of it, foretold from their plans.
type Load struct {
	Share   float64       // of the line's time, 0 for nothing; above 1 the line is too slow
	Silence time.Duration // the longest that one unanswered request stops the line
	Devices []DeviceLoad  // in the order of the devices, those that are polled
}

// DeviceLoad is the part of one device.
type DeviceLoad struct {
	Name  string
	Every time.Duration // of its main group
	Share float64       // of the line's time
}

// Busiest is the device that needs most of the line; the zero DeviceLoad on a line without devices.
func (l Load) Busiest() DeviceLoad {
	var most DeviceLoad
	for _, d := range l.Devices {
		if d.Share > most.Share {
			most = d
		}
	}
	return most
}

// poll is one group that is read again and again.
type poll struct {
	device int // index of its DeviceLoad
	cost   field.Cost
	char   time.Duration
	rate   float64 // reads in a second
}

// Forecast sums up what the polls of the devices take of their line: the cost of each group by its period. char gives
// the wire time of one character in a line mode, "" for the line's own. A device whose station is no field.Coster
// counts as nothing; so does the silence of dead devices, since what they may take is bounded (see rest).
func Forecast(devices []Device, char func(mode string) time.Duration) Load {
	var load Load
	var polls []poll
	total := 0.0 // reads in a second, all together
	for _, d := range devices {
		coster, ok := d.Station.(field.Coster)
		if !ok || d.Every <= 0 {
			continue
		}
		for _, g := range d.Station.Groups() {
			period := d.Every
			if g.Name == field.SlowGroup && d.Slow > 0 {
				period = d.Slow
			}
			c := coster.Cost(g.Name)
			if c.Mode == "" {
				c.Mode = d.Mode
			}
			if c.Exchanges == 0 {
				continue
			}
			p := poll{len(load.Devices), c, char(c.Mode), 1 / period.Seconds()}
			polls = append(polls, p)
			total += p.rate
			load.Silence = max(load.Silence, c.Timeout)
		}
		load.Devices = append(load.Devices, DeviceLoad{Name: d.Name, Every: d.Every})
	}
	busy := 0.0
	for _, p := range polls {
		busy += p.cost.Time(p.char).Seconds() * p.rate
	}
	for _, p := range polls {
		share := (p.cost.Time(p.char).Seconds() + min(1, busy)*p.yielding(polls, total)) * p.rate
		load.Devices[p.device].Share += share
		load.Share += share
	}
	return load
}

// yielding is how many seconds a read waits for the silence of slower modes when it follows upon another, on average: who
// listens in one of them must have heard the end of what came before, and any read may have come before. A read in the
// slower mode has that silence in its own cost. A line that is busy half of the time has the silence mostly behind it.
func (p poll) yielding(polls []poll, total float64) float64 {
	wait := 0.0
	for _, before := range polls {
		wait += max(0, silence(before.char)-silence(p.char)).Seconds() * before.rate / total
	}
	return wait
}

// silence is that between two frames: 3.5 characters, and never less than 1.75 ms (Modbus over serial line, 2.5.1.1).
func silence(char time.Duration) time.Duration { return max(7*char/2, 1750*time.Microsecond) }
