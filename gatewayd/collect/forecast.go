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

// Forecast sums up what the polls of the devices take of their line: the cost of each group by its period. char gives
// the wire time of one character in a line mode, "" for the line's own. A device whose station is no field.Coster
// counts as nothing; so does the silence of dead devices, since what they may take is bounded (see rest).
func Forecast(devices []Device, char func(mode string) time.Duration) Load {
	var load Load
	change := changeOf(devices, char)
	for _, d := range devices {
		coster, ok := d.Station.(field.Coster)
		if !ok || d.Every <= 0 {
			continue
		}
		mine := DeviceLoad{Name: d.Name, Every: d.Every}
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
			mine.Share += float64(c.Time(char(c.Mode))+change) / float64(period)
			load.Silence = max(load.Silence, c.Timeout)
		}
		load.Share += mine.Share
		load.Devices = append(load.Devices, mine)
	}
	return load
}

// changeOf is what a read costs besides on a line whose devices speak in several modes: before the first request the
// line is changed over, with the silence of the slowest mode.
func changeOf(devices []Device, char func(mode string) time.Duration) time.Duration {
	const silence = 3.5 // characters
	var slowest time.Duration
	modes := map[string]bool{}
	for _, d := range devices {
		if d.Every > 0 {
			modes[d.Mode] = true
			slowest = max(slowest, char(d.Mode))
		}
	}
	if len(modes) < 2 {
		return 0
	}
	return time.Duration(silence * float64(slowest))
}
