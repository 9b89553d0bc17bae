package modbus

import (
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
)

// TestCost holds the forecast against the limit of the wire: at 9600 8N1 ten registers with 5 ms of turnaround go
// 23.2 times a second, 125 registers 3.5 times.
func TestCost(t *testing.T) {
	for _, c := range []struct {
		registers  int
		turnaround string
		perSecond  float64
	}{{10, "5ms", 23.2}, {125, "5ms", 3.5}, {10, "20ms", 17.2}} {
		mode, err := link.ParseMode("9600 8N1")
		if err != nil {
			t.Fatal(err)
		}
		line := link.Serial("/dev/none", mode, link.Options{})
		defer line.Close()
		station, err := New(line, RTU, Options{}).Bind(field.Device{Name: "meter", Address: "1",
			Quirks: map[string]string{"turnaround": c.turnaround},
			Tags:   []field.Tag{{Name: "block", At: "input 0", Type: "string", Length: 2 * c.registers}}})
		if err != nil {
			t.Fatal(err)
		}
		cost := station.(field.Coster).Cost(field.MainGroup)
		if cost.Exchanges != 1 || cost.Sent != 8 || cost.Received != 5+2*c.registers {
			t.Errorf("%d registers: %+v", c.registers, cost)
		}
		got := float64(time.Second) / float64(cost.Time(line.Timing().Char))
		if got < c.perSecond-0.1 || got > c.perSecond+0.1 {
			t.Errorf("%d registers, %s: %.2f reads a second, want %.1f", c.registers, c.turnaround, got, c.perSecond)
		}
		if none := station.(field.Coster).Cost(field.SlowGroup); none.Exchanges != 0 || none.Time(line.Timing().Char) != 0 {
			t.Errorf("a group without tags costs %+v", none)
		}
	}
}
