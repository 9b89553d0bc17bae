package serial_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/field/fieldtest"
	"edgegateway/adapters/link"
	"edgegateway/adapters/serial"
)

func driver(l link.Line) field.Driver { return serial.New(l, serial.Options{}) }

// TestLinesConform: a scale that answers a line.
func TestLinesConform(t *testing.T) {
	fieldtest.Run(t, fieldtest.Subject{
		Driver: driver,
		Device: field.Device{Name: "scale", Protocol: "serial", Address: "07", Timeout: 400 * time.Millisecond,
			Quirks: map[string]string{"request": `?{address}\r\n`, "start": "W", "pattern": `^W{address} (?P<sign>[+-])(?P<weight> *[0-9.]+) (?P<unit>k?g)$`},
			Tags:   []field.Tag{{Name: "weight", At: "weight", Unit: "kg"}, {Name: "unit", At: "unit", Type: "string"}}},
		Want: func(round int) []field.Value {
			return []field.Value{field.Float64(float64(round) + 0.25), field.Text("kg")}
		},
		Answer:  func(_ []byte, round int) []byte { return fmt.Appendf(nil, "W07 + %d.25 kg\r\n", round) },
		Foreign: func(a []byte) []byte { return bytes.Replace(a, []byte("W07"), []byte("W08"), 1) },
		Short:   func(a []byte) []byte { return bytes.Replace(a, []byte(" kg"), nil, 1) },
	})
}

// TestFramesConform: a transmitter that answers with a counted frame and a sum.
func TestFramesConform(t *testing.T) {
	seal := func(b []byte) []byte {
		sum := byte(0)
		for _, c := range b {
			sum ^= c
		}
		return append(b, sum)
	}
	fieldtest.Run(t, fieldtest.Subject{
		Driver: driver,
		Device: field.Device{Name: "gas", Protocol: "serial", Address: "1", Timeout: 300 * time.Millisecond,
			Quirks: map[string]string{"frame": "length", "start": `\xAA`, "length_at": "2", "length_add": "4", "checksum": "xor",
				"request": `\xAA\x01\x00`, "request_checksum": "true", "pattern": `(?s)^\xAA\x01`},
			Tags: []field.Tag{
				{Name: "ppm", At: "byte 3", Type: "uint16", Scale: 0.1},
				{Name: "alarm", At: "byte 5 bit 2"},
			}},
		Want: func(round int) []field.Value {
			return []field.Value{field.Float64(float64(round) / 10), field.Bool(round%2 == 1)}
		},
		Answer: func(_ []byte, round int) []byte {
			return seal([]byte{0xAA, 1, 5, 0, byte(round), byte(round%2) << 2, 7, 7})
		},
		Foreign: func(a []byte) []byte {
			b := slices.Clone(a[:len(a)-1])
			b[1] = 2
			return seal(b)
		},
		Short: func(a []byte) []byte { return seal([]byte{0xAA, 1, 1, 7}) },
	})
}

// station binds a device on a line in memory whose peer answers.
func station(t *testing.T, peer func(request []byte) []byte, d field.Device) (field.Station, *fieldtest.Line) {
	t.Helper()
	l := &fieldtest.Line{Peer: func(r []byte) []fieldtest.Chunk {
		if a := peer(r); a != nil {
			return []fieldtest.Chunk{{Bytes: a}}
		}
		return nil
	}}
	s, err := driver(l).Bind(d)
	if err != nil {
		t.Fatal(err)
	}
	return s, l
}

// TestValues: each form of a value, in text and in binary.
func TestValues(t *testing.T) {
	text := "A1;-12.5;0x;+ 3;on;2;FF;4807.038;N;01131.000;W"
	bin := []byte{0x02, 0xFF, 0xFE, 0x12, 0x34, 0x42, 0xF6, 0xE9, 0x79, 0x80, 'a', 'b', 0, 0}
	for _, c := range []struct {
		name   string
		quirks map[string]string
		answer []byte
		tag    field.Tag
		want   field.Value
		q      field.Quality
	}{
		{"float", nil, nil, field.Tag{At: "field 1"}, field.Float64(-12.5), field.Good},
		{"no number", nil, nil, field.Tag{At: "field 2"}, field.Value{}, field.Invalid},
		{"blank behind the sign", nil, nil, field.Tag{At: "field 3", Scale: 0.1}, field.Float64(0.3), field.Good},
		{"bool", nil, nil, field.Tag{At: "field 4", Type: "bool"}, field.Bool(true), field.Good},
		{"word", nil, nil, field.Tag{At: "field 5", Type: "int64", Enum: map[string]string{"2": "open"}}, field.Text("open"), field.Good},
		{"no word", nil, nil, field.Tag{At: "field 5", Type: "int64", Enum: map[string]string{"3": "open"}}, field.Text("2"), field.Good},
		{"hex", nil, nil, field.Tag{At: "field 6", Type: "hex", Mask: "0x0F"}, field.Uint(15), field.Good},
		{"north", nil, nil, field.Tag{At: "field 7", Type: "nmea-angle"}, field.Float64(48.1173), field.Good},
		{"west", nil, nil, field.Tag{At: "field 9", Type: "nmea-angle"}, field.Float64(-11.5166667), field.Good},
		{"sentinel", nil, nil, field.Tag{At: "field 5", Type: "int64", Null: []string{"2"}}, field.Value{}, field.Invalid},
		{"missing field", nil, nil, field.Tag{At: "field 11"}, field.Value{}, field.Invalid},
		{"frame", nil, nil, field.Tag{At: "frame", Type: "string"}, field.Text(text), field.Good},

		{"int16", map[string]string{}, bin, field.Tag{At: "byte 1", Type: "int16"}, field.Int(-2), field.Good},
		{"int16, low byte first", map[string]string{}, bin, field.Tag{At: "byte 1", Type: "int16", Order: "DCBA"}, field.Int(-257), field.Good},
		{"bcd", map[string]string{}, bin, field.Tag{At: "byte 3", Type: "bcd16"}, field.Uint(1234), field.Good},
		{"no bcd", map[string]string{}, bin, field.Tag{At: "byte 1", Type: "bcd16"}, field.Value{}, field.Invalid},
		{"float32", map[string]string{}, bin, field.Tag{At: "byte 5", Type: "float32"}, field.Float32(123.456), field.Good},
		{"float32, words swapped", map[string]string{}, []byte{2, 0, 0, 0, 0, 0xE9, 0x79, 0x42, 0xF6, 0, 0, 0, 0, 0}, field.Tag{At: "byte 5", Type: "float32", Order: "CDAB"}, field.Float32(123.456), field.Good},
		{"float32, bytes swapped", map[string]string{}, []byte{2, 0, 0, 0, 0, 0xF6, 0x42, 0x79, 0xE9, 0, 0, 0, 0, 0}, field.Tag{At: "byte 5", Type: "float32", Order: "BADC"}, field.Float32(123.456), field.Good},
		{"bit", map[string]string{}, bin, field.Tag{At: "byte 9 bit 7"}, field.Bool(true), field.Good},
		{"text", map[string]string{}, bin, field.Tag{At: "byte 10", Type: "string", Length: 4}, field.Text("ab"), field.Good},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				quirks, answer := map[string]string{"separator": ";"}, []byte(text+"\n")
				if c.quirks != nil {
					quirks, answer = map[string]string{"frame": "fixed", "length": "14", "start": `\x02`}, c.answer
				}
				quirks["request"] = "?"
				c.tag.Name = "x"
				s, _ := station(t, func([]byte) []byte { return answer }, field.Device{Name: "d", Address: "1", Quirks: quirks, Tags: []field.Tag{c.tag}})
				r, err := s.Read(t.Context(), field.MainGroup)
				if err != nil {
					t.Fatal(err)
				}
				if r.Values[0] != c.want || r.QualityOf(0) != c.q {
					t.Errorf("%s (%s), want %s (%s)", r.Values[0], r.QualityOf(0), c.want, c.q)
				}
				if p := r.Group.Points[0]; c.q == field.Good && p.Kind != c.want.Kind() {
					t.Errorf("the point is said to be a %s", p.Kind)
				}
			})
		})
	}
}

// TestChecksums: the published check values of "123456789", and what becomes of a frame with a wrong sum.
func TestChecksums(t *testing.T) {
	for _, c := range []struct {
		quirks map[string]string
		sum    string
	}{
		{map[string]string{"checksum": "crc16-modbus"}, "\x37\x4B"},
		{map[string]string{"checksum": "crc16-modbus", "checksum_order": "big"}, "\x4B\x37"},
		{map[string]string{"checksum": "crc16-ccitt"}, "\x29\xB1"},
		{map[string]string{"checksum": "crc16-xmodem"}, "\x31\xC3"},
		{map[string]string{"checksum": "xor"}, "\x31"},
		{map[string]string{"checksum": "sum8"}, "\xDD"},
		{map[string]string{"checksum": "lrc"}, "\x23"},
		{map[string]string{"checksum": "lrc", "checksum_as": "hex"}, "23"},
		{map[string]string{"checksum": "xor", "checksum_from": "1"}, "\x00"},
	} {
		for _, wrong := range []byte{0, 1} {
			t.Run(fmt.Sprint(c.quirks, wrong), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sum := []byte(c.sum)
					sum[0] ^= wrong
					c.quirks["frame"], c.quirks["end"], c.quirks["request"] = "delimiter", `\x03`, "?"
					s, _ := station(t, func([]byte) []byte { return append(append([]byte("123456789"), sum...), 3) },
						field.Device{Name: "d", Address: "1", Quirks: c.quirks, Tags: []field.Tag{{Name: "x", At: "frame", Type: "int64"}}})
					r, err := s.Read(t.Context(), "")
					if wrong != 0 && !errors.Is(err, field.ErrSilent) {
						t.Errorf("a frame with a wrong sum was taken: %v, %v", r.Values, err)
					}
					if wrong == 0 && (err != nil || r.Values[0] != field.Int(123456789)) {
						t.Errorf("%v, %v", r.Values, err)
					}
				})
			})
		}
	}
}

// TestSilenceEndsAFrame: a device whose frames have neither end nor length.
func TestSilenceEndsAFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := station(t, func([]byte) []byte { return []byte("T=21.5") }, field.Device{Name: "d", Address: "1",
			Quirks: map[string]string{"frame": "silence", "request": "t", "pattern": `^T=(?P<t>.+)`}, Tags: []field.Tag{{Name: "t", At: "t"}}})
		r, err := s.Read(t.Context(), "")
		if err != nil || r.Values[0] != field.Float64(21.5) {
			t.Errorf("%v, %v", r.Values, err)
		}
	})
}

const gga = "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n"
const rmc = "$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n"

// TestListen: a receiver that speaks by itself is heard, sentence by sentence, through noise and broken sums.
func TestListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &fieldtest.Line{}
		d := serial.New(l, serial.Options{})
		s, err := d.Bind(field.Device{Name: "gnss", Address: "1", Quirks: map[string]string{"start": "$", "checksum": "nmea", "separator": ","},
			Tags: []field.Tag{
				{Name: "latitude", At: "field 2", Type: "nmea-angle", Extra: map[string]string{"pattern": `^\$G.GGA,`}},
				{Name: "satellites", At: "field 7", Type: "uint64", Extra: map[string]string{"pattern": `^\$G.GGA,`}},
				{Name: "speed", At: "field 7", Extra: map[string]string{"pattern": `^\$G.RMC,`}, Group: field.SlowGroup},
			}})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := s.Read(t.Context(), field.MainGroup); !errors.Is(err, field.ErrSilent) || r.QualityOf(0) != field.Timeout || len(l.Requests) > 0 {
			t.Errorf("it was asked: %v, %v", r, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var heard []string
		var listening error
		done := make(chan struct{})
		go func() {
			defer close(done)
			listening = d.Listen(ctx, func(r field.Record) {
				heard = append(heard, fmt.Sprint(r.Group.Name, r.Values, r.Quality))
			})
		}()
		for _, piece := range []string{"\x00\xFF$GP", gga[:20], gga[20:], strings.Replace(gga, "*47", "*48", 1) + rmc, gga[30:] + gga} {
			l.Arrive([]byte(piece))
			time.Sleep(50 * time.Millisecond)
		}
		cancel()
		<-done
		want := []string{"main[48.1173 8] []", "slow[22.4] []", "main[48.1173 8] []"}
		if !slices.Equal(heard, want) || !errors.Is(listening, context.Canceled) {
			t.Errorf("heard %q (%v), want %q", heard, listening, want)
		}
	})
}

// TestWrite: a write is confirmed, or read back, and never sent twice.
func TestWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		volt, deaf := "0.5", false
		s, l := station(t, func(r []byte) []byte {
			switch text := string(r); {
			case text == "VOLT?\n":
				return []byte(volt + "\n")
			case strings.HasPrefix(text, "VOLT ") && !deaf:
				volt = strings.TrimSpace(text[5:])
			case strings.HasPrefix(text, "OUTP ") && !deaf:
				return []byte("OK\n")
			}
			return nil
		}, field.Device{Name: "psu", Address: "1", Timeout: 100 * time.Millisecond, Tags: []field.Tag{
			{Name: "volt", At: "frame", Scale: 0.1, Write: true, Extra: map[string]string{"request": `VOLT?\n`, "write_as": `VOLT {value}\n`}},
			{Name: "output", At: "frame", Type: "bool", Write: true, Extra: map[string]string{"request": `OUTP?\n`, "write_as": `OUTP {value}\n`, "write_ok": "^OK$"}},
			{Name: "fixed", At: "frame", Extra: map[string]string{"request": `X?\n`}},
		}})
		w := s.(field.Writer)
		if err := w.Write(t.Context(), "volt", field.Float64(2.5)); err != nil || volt != "25" {
			t.Errorf("%v, and the device has %s", err, volt)
		}
		if err := w.Write(t.Context(), "output", field.Bool(true)); err != nil || string(l.Requests[len(l.Requests)-1]) != "OUTP 1\n" {
			t.Errorf("%v, and %q was sent", err, l.Requests)
		}
		deaf = true
		var refused *field.ExceptionError
		if err := w.Write(t.Context(), "volt", field.Float64(3)); !errors.As(err, &refused) || !strings.Contains(err.Error(), "still reads 2.5") {
			t.Errorf("a write that was not followed: %v", err)
		}
		before := len(l.Requests)
		if err := w.Write(t.Context(), "output", field.Bool(false)); !errors.Is(err, field.ErrSilent) || len(l.Requests) != before+1 {
			t.Errorf("a write that was not confirmed: %v after %d requests", err, len(l.Requests)-before)
		}
		if err := w.Write(t.Context(), "fixed", field.Float64(3)); !errors.Is(err, field.ErrReadOnly) {
			t.Errorf("%v, want %v", err, field.ErrReadOnly)
		}
		if err := w.Write(t.Context(), "nothing", field.Float64(3)); !errors.Is(err, field.ErrUnknownTag) {
			t.Errorf("%v, want %v", err, field.ErrUnknownTag)
		}
	})
}

// TestBindComplains: every fault is told, in the words of whoever wrote it.
func TestBindComplains(t *testing.T) {
	tag := func(at, typ string) []field.Tag { return []field.Tag{{Name: "x", At: at, Type: typ}} }
	for _, c := range []struct {
		quirks map[string]string
		tags   []field.Tag
		says   string
	}{
		{map[string]string{"fram": "line"}, tag("frame", ""), `did you mean "frame"?`},
		{map[string]string{"frame": "lines"}, tag("frame", ""), `did you mean "line"?`},
		{map[string]string{"frame": "fixed"}, tag("frame", ""), "the length of a frame is missing"},
		{map[string]string{"frame": "fixed", "length": "4"}, tag("frame", ""), "nothing tells where a frame"},
		{map[string]string{"frame": "length", "start": "A"}, tag("frame", ""), "where the length stands"},
		{map[string]string{"frame": "delimiter"}, tag("frame", ""), "the bytes that end a frame are missing"},
		{map[string]string{"length": "4"}, tag("frame", ""), `leave it out, or write frame = "fixed"`},
		{map[string]string{"start": `\q`}, tag("frame", ""), `there is no \q`},
		{map[string]string{"checksum": "crc16"}, tag("frame", ""), "crc16-modbus"},
		{map[string]string{"checksum_from": "2"}, tag("frame", ""), "there is no checksum"},
		{map[string]string{"pattern": "("}, tag("frame", ""), "this is no regular expression"},
		{map[string]string{"pattern": "(?P<temp>.)"}, tag("tmp", ""), `did you mean "temp"?`},
		{nil, tag("field 2", ""), "no separator"},
		{nil, tag("somewhere 2", ""), "this is no place in a frame"},
		{nil, tag("frame", "float"), `did you mean "float64"?`},
		{nil, tag("byte 2", ""), "the type is missing"},
		{nil, tag("byte 2 bit 9", "int16"), "one bit is a truth value"},
		{nil, []field.Tag{{Name: "x", At: "frame", Write: true}}, "nothing says what is sent to write it"},
		{nil, []field.Tag{{Name: "x", At: "frame", Extra: map[string]string{"request": "?"}}, {Name: "y", At: "frame"}}, "the request that this tag is read with is missing"},
		{nil, []field.Tag{{Name: "x", At: "frame"}, {Name: "x", At: "frame"}}, "two tags of that name"},
	} {
		_, err := driver(nil).Bind(field.Device{Name: "d", Address: "1", Quirks: c.quirks, Tags: c.tags})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, %v: got %v, want %q", c.quirks, c.tags, err, c.says)
		}
	}
}
