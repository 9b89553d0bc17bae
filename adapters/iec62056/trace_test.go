package iec62056

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/testbench/sim/port"
	"edgegateway/testbench/sim/port/porttest"
)

// TestTraceHidesThePassword: of the password's message its head is shown, whatever the meter and the wires make of it.
func TestTraceHidesThePassword(t *testing.T) {
	const password = "Kx7secret"
	for _, parity := range []string{"line", "software"} {
		for _, echo := range []bool{false, true} {
			t.Run(fmt.Sprintf("parity by %s, echo %v", parity, echo), func(t *testing.T) {
				m := meterOf("/ABC5MT174", 'C', 300).Set("1.8.0", "(000123.45*kWh)").Password(password)
				meter := port.Machine(m)
				if echo {
					meter = port.Echo{Machine: m}
				}
				line := link.TCP(porttest.Serve(t, meter), link.Options{})
				defer line.Close()
				frames := line.Trace().Subscribe(t.Context())
				d := New(line)
				d.sleep = func(context.Context, time.Duration) error { return nil }
				s, err := d.Bind(field.Device{Address: "12345678", Secret: password, Timeout: 5 * time.Second,
					Quirks: map[string]string{"read": "registers", "parity": parity}, Tags: []field.Tag{{Name: "import", At: "1.8.0"}}})
				if err != nil {
					t.Fatal(err)
				}
				if r, err := s.Read(t.Context(), field.MainGroup); err != nil || r.Values[0] != field.Float64(123.45) {
					t.Errorf("%v %v", r.Values, err)
				}
				m.Password("other")
				if r, err := s.Read(t.Context(), field.MainGroup); err != nil || r.QualityOf(0) != field.Exception {
					t.Errorf("a wrong password: %v %v", r.Quality, err)
				}

				var shown []string
				for len(frames) > 0 {
					f := <-frames
					shown = append(shown, f.Dir.String()+" "+f.Hex()+f.Note+" "+Describe(f.Bytes))
				}
				all := strings.Join(shown, "\n")
				for _, form := range []string{password, fmt.Sprintf("% x", password), fmt.Sprintf("% x", even([]byte(password)))} {
					if strings.Contains(all, form) {
						t.Errorf("the password is shown, as %s:\n%s", form, all)
					}
				}
				sent := even([]byte("\x01P1\x02"))
				if parity == "line" {
					sent = []byte("\x01P1\x02")
				}
				message := fmt.Sprintf("tx % x%s password", sent, strings.Repeat(" **", len("("+password+")\x03x")))
				if strings.Count(all, message) != 2 || !strings.Contains(all, "R1 1.8.0()") {
					t.Errorf("two passwords and a register are not to be seen:\n%s", all)
				}
			})
		}
	}
}
