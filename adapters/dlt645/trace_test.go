package dlt645

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	sim "edgegateway/testbench/sim/dlt645"
	"edgegateway/testbench/sim/port"
	"edgegateway/testbench/sim/port/porttest"
)

// TestTraceHidesThePassword: of a write everything is shown but the password and the checksum, whatever the meter and
// the wires make of it.
func TestTraceHidesThePassword(t *testing.T) {
	for _, c := range []struct {
		name, at, read, write string
		old                   bool
	}{
		{"2007", "04000103", "36 34 33 37", "68 14 0d 36 34 33 37 ** ** ** ** 33 33 33 33 48 ** 16", false},
		{"1997", "C115", "48 f4", "68 04 07 48 f4 ** ** ** ** 48 ** 16", true},
	} {
		for _, echo := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, echo %v", c.name, echo), func(t *testing.T) {
				bus := sim.New(0)
				meters := port.Machine(bus)
				if echo {
					meters = port.Echo{Machine: bus}
				}
				m := bus.Add(number, c.old).Set(c.at, "00").Password("02876510")
				line := link.TCP(porttest.Serve(t, meters), link.Options{})
				defer line.Close()
				frames := line.Trace().Subscribe(t.Context())
				dev := field.Device{Address: number, Secret: "02876510", Timeout: 5 * time.Second, Tags: []field.Tag{{Name: "x", At: c.at, Type: "XX", Write: true}}}
				s := bind(t, New(line), dev)
				if err := s.Write(t.Context(), "x", field.Float64(15)); err != nil || len(m.Writes()) != 1 {
					t.Errorf("%v, written %q", err, m.Writes())
				}
				m.Password("02000000")
				refused := s.Write(t.Context(), "x", field.Float64(15))
				if !errors.As(refused, new(*field.ExceptionError)) {
					t.Errorf("a wrong password: %v", refused)
				}
				m.Silent(true)
				dev.Timeout = 50 * time.Millisecond
				silent := bind(t, New(line), dev).Write(t.Context(), "x", field.Float64(15))
				if !errors.Is(silent, field.ErrSilent) {
					t.Errorf("a silent meter: %v", silent)
				}
				m.Silent(false)
				read(t, s)

				shown := []string{refused.Error(), silent.Error(), line.Stats().LastError}
				for len(frames) > 0 {
					f := <-frames
					shown = append(shown, f.Dir.String()+" "+f.Hex()+f.Note+" "+Describe(f.Bytes))
				}
				all := strings.Join(shown, "\n")
				bare := strings.ToLower(strings.ReplaceAll(all, " ", ""))
				for _, form := range []string{"02876510", "876510", "106587", "4398ba", "ba9843"} {
					if strings.Contains(bare, form) {
						t.Errorf("the password is shown, as %s:\n%s", form, all)
					}
				}
				if strings.Count(all, c.write) != 3 || strings.Count(all, ": write "+c.at) != 3 || !strings.Contains(all, c.read) {
					t.Errorf("three writes and a read are not to be seen:\n%s", all)
				}
			})
		}
	}
}
