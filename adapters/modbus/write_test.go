package modbus

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/field/fieldtest"
	"edgegateway/adapters/modbus/register"
)

// writable are tags of every way to write.
func writable() []field.Tag {
	tags := []field.Tag{
		{Name: "coil", At: "coil 3"},
		{Name: "int", At: "holding 10", Type: "int16"},
		{Name: "scaled", At: "holding 11", Type: "int16", Scale: 0.1, Unit: "m"},
		{Name: "float", At: "holding 12", Type: "float32", Order: "CDAB"},
		{Name: "bit", At: "holding 14 bit 3"},
		{Name: "masked", At: "holding 15", Type: "uint16", Mask: "0x00F0"},
		{Name: "bcd", At: "holding 16", Type: "bcd32"},
		{Name: "text", At: "holding 18", Type: "string", Length: 5},
		{Name: "mode", At: "holding 21", Type: "uint16", Enum: map[string]string{"0": "off", "2": "auto"}},
		{Name: "big", At: "holding 22", Type: "uint64"},
	}
	for i := range tags {
		tags[i].Write = true
	}
	return tags
}

func TestWrite(t *testing.T) {
	for _, c := range []struct {
		quirk     string
		functions []byte
	}{
		{"", []byte{5, 6, 6, 16, 6, 6, 16, 16, 6, 16}},
		{"write_multiple", []byte{15, 16, 16, 16, 16, 16, 16, 16, 16, 16}},
		{"write_readback", []byte{5, 23, 23, 23, 23, 23, 23, 23, 23, 23}},
	} {
		for _, f := range []Framing{RTU, TCP} {
			synctest.Test(t, func(t *testing.T) {
				d := newDevice(f)
				d.regs[register.Holding][14], d.regs[register.Holding][15] = 0x8001, 0xAB0C
				dev := field.Device{Tags: writable()}
				if c.quirk != "" {
					dev.Quirks = map[string]string{c.quirk: "true"}
				}
				s, _ := wired(t, d, dev)
				values := []field.Value{
					field.Bool(true), field.Int(-5), field.Float64(42.3), field.Float32(230.2), field.Bool(true), field.Int(0x70),
					field.Uint(12345678), field.Text("pump"), field.Text("auto"), field.Uint(1<<63 + 1),
				}
				want := slices.Clone(values)
				want[5] = field.Uint(0x70)
				for i, v := range values {
					if err := s.Write(t.Context(), dev.Tags[i].Name, v); err != nil {
						t.Errorf("%v %s: writing %v to %s: %v", f, c.quirk, v, dev.Tags[i].Name, err)
					}
				}
				if !slices.Equal(d.wrote, c.functions) {
					t.Errorf("%v %s: written with functions %v, want %v", f, c.quirk, d.wrote, c.functions)
				}
				if r := read(t, s); !slices.Equal(r.Values, want) {
					t.Errorf("%v %s: reads back %v, want %v", f, c.quirk, r.Values, want)
				}
				if d.regs[register.Holding][14] != 0x8009 || d.regs[register.Holding][15] != 0xAB7C {
					t.Errorf("%v %s: the other bits changed: %#x, %#x", f, c.quirk, d.regs[register.Holding][14], d.regs[register.Holding][15])
				}
			})
		}
	}
}

// TestWriteRefused: what is refused before anything is sent, and why.
func TestWriteRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(RTU)
		s, line := wired(t, d, field.Device{Tags: append(writable(), registers(90, 1)[0],
			field.Tag{Name: "level", At: "input 5", Type: "uint16"}, field.Tag{Name: "door", At: "discrete 5"})})
		for _, c := range []struct {
			tag  string
			v    field.Value
			want error
			says string
		}{
			{"flaot", field.Int(1), field.ErrUnknownTag, "flaot"},
			{"scale", field.Int(1), field.ErrUnknownTag, `did you mean "scaled"?`},
			{"level", field.Int(1), field.ErrReadOnly, "input"},
			{"door", field.Bool(true), field.ErrReadOnly, "discrete"},
			{"r90", field.Int(1), field.ErrReadOnly, "writable list"},
			{"scaled", field.Float64(1e6), field.ErrRange, "allowed is -3276.8 to 3276.7 m"},
			{"mode", field.Text("on"), field.ErrRange, "allowed are off, auto"},
			{"text", field.Text("too long"), field.ErrRange, "at most 5 bytes"},
			{"masked", field.Int(0x170), field.ErrRange, "0xf0"},
			{"coil", field.Int(2), field.ErrRange, "true and false"},
		} {
			if err := s.Write(t.Context(), c.tag, c.v); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("writing %v to %s: %v, want %v with %q in it", c.v, c.tag, err, c.want, c.says)
			}
		}
		if len(line.Requests) > 0 {
			t.Errorf("sent % x", line.Requests)
		}
	})
}

// TestWriteFails: an exception is the device's own word, and silence is never answered by another try.
func TestWriteFails(t *testing.T) {
	for _, f := range []Framing{RTU, TCP} {
		synctest.Test(t, func(t *testing.T) {
			d := newDevice(f)
			s, line := wired(t, d, field.Device{Tags: writable(), Timeout: time.Second})
			read(t, s)
			line.Requests = nil

			line.Peer = func(r []byte) []fieldtest.Chunk {
				_, pdu := unwrap(f, r)
				return []fieldtest.Chunk{{Bytes: wrap(f, r, []byte{pdu[0] | 0x80, 6})}}
			}
			var exception *field.ExceptionError
			if err := s.Write(t.Context(), "int", field.Int(1)); !errors.As(err, &exception) || exception.Code != 6 {
				t.Errorf("%v: the device is busy: %v", f, err)
			}
			line.Peer = nil
			for _, tag := range []string{"int", "float"} {
				if err := s.Write(t.Context(), tag, field.Int(1)); !errors.Is(err, field.ErrSilent) || !strings.Contains(err.Error(), "not known") {
					t.Errorf("%v: the device is silent: %v", f, err)
				}
			}
			if n := len(line.Requests); n != 3 {
				t.Errorf("%v: %d requests for three writes", f, n)
			}
			line.Peer = func(r []byte) []fieldtest.Chunk { // another value than was written
				_, pdu := unwrap(f, r)
				return []fieldtest.Chunk{{Bytes: wrap(f, r, []byte{pdu[0], pdu[1], pdu[2], pdu[3], pdu[4] + 1})}}
			}
			if err := s.Write(t.Context(), "int", field.Int(1)); !errors.Is(err, field.ErrSilent) || !strings.Contains(err.Error(), "another write") {
				t.Errorf("%v: the device confirms another value: %v", f, err)
			}
			line.Down(errors.New("unplugged"))
			if err := s.Write(t.Context(), "int", field.Int(1)); !errors.Is(err, field.ErrLine) {
				t.Errorf("%v: no line: %v", f, err)
			}
			if st := s.Stats(); st.Exceptions != 1 || st.Timeouts != 2 || st.Garbage != 1 {
				t.Errorf("%v: %+v", f, st)
			}
		})
	}
}

// TestReadback: function 23 shows what stands there afterwards.
func TestReadback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(TCP)
		s, line := wired(t, d, field.Device{Tags: writable(), Quirks: map[string]string{"write_readback": "true"}})
		line.Peer = func(r []byte) []fieldtest.Chunk {
			return []fieldtest.Chunk{{Bytes: wrap(TCP, r, []byte{23, 2, 0, 9})}}
		}
		if err := s.Write(t.Context(), "int", field.Int(10)); err == nil || !strings.Contains(err.Error(), "00 09 stands there") {
			t.Errorf("the device keeps 9 when 10 is written: %v", err)
		}
	})
}

// TestWriteOnEchoingLine: where the confirmation and the echo look the same, a dead device does not confirm, also when
// the write is the first thing on the line.
func TestWriteOnEchoingLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(RTU)
		s, line := wired(t, d, field.Device{Tags: writable(), Timeout: time.Second})
		echo := func(r []byte) []fieldtest.Chunk { return []fieldtest.Chunk{{Bytes: r}} }
		line.Peer = echo
		for _, when := range []string{"at first", "after a read"} {
			for _, tag := range []string{"int", "coil"} {
				if err := s.Write(t.Context(), tag, field.Bool(true)); tag == "coil" && !errors.Is(err, field.ErrSilent) {
					t.Errorf("%s: the echo confirms %s: %v", when, tag, err)
				}
				if err := s.Write(t.Context(), tag, field.Int(1)); !errors.Is(err, field.ErrSilent) {
					t.Errorf("%s: the echo confirms %s: %v", when, tag, err)
				}
			}
			line.Peer = func(r []byte) []fieldtest.Chunk { return append(echo(r), d.peer(r)...) }
			read(t, s)
			if err := s.Write(t.Context(), "int", field.Int(77)); err != nil || d.regs[register.Holding][10] != 77 {
				t.Errorf("%s: a device behind an echoing adapter: %v, %d", when, err, d.regs[register.Holding][10])
			}
			line.Peer = echo
		}
	})
}
