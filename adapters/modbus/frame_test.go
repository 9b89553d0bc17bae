package modbus

import (
	"bytes"

	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/goburrow/modbus"

	"edgegateway/adapters/modbus/register"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// asking is a driver that has just sent a request.
func asking(f Framing, request []byte) *Driver {
	d := New(nil, f, Options{})
	unit, pdu := unwrap(f, request)
	d.asked = ask(request, pdu, unit, d.packager(unit))
	return d
}

// TestRequests packs the requests of published examples.
func TestRequests(t *testing.T) {
	for _, c := range []struct {
		framing Framing
		unit    byte
		where   register.Span
		want    string
	}{
		{RTU, 1, register.Span{Space: register.Holding, Start: 0, Count: 10}, "01 03 00 00 00 0A C5 CD"},
		{RTU, 17, register.Span{Space: register.Holding, Start: 107, Count: 3}, "11 03 00 6B 00 03 76 87"},
		{RTU, 10, register.Span{Space: register.Coil, Start: 1185, Count: 1}, "0A 01 04 A1 00 01 AC 63"},
		{TCP, 17, register.Span{Space: register.Holding, Start: 107, Count: 3}, "00 01 00 00 00 06 11 03 00 6B 00 03"},
	} {
		d := New(nil, c.framing, Options{})
		s := &Station{driver: d, unit: c.unit, packager: d.packager(c.unit)}
		if got := s.request(c.where); !bytes.Equal(got, unhex(c.want)) {
			t.Errorf("%v of unit %d: % x, want %s", c.where, c.unit, got, c.want)
		}
	}
}

// TestFindRTU looks for the answer among what came, and for how much is missing of it.
func TestFindRTU(t *testing.T) {
	const request = "01 03 00 00 00 01 84 0A"
	const answer = "01 03 02 00 2A 39 9B"
	for _, c := range []struct {
		name, request, got, want string
		missing                  int
		fault                    string
	}{
		{"nothing", request, "", "", 5, ""},
		{"whole", request, answer, answer, 0, ""},
		{"unit only", request, "01", "", 4, ""},
		{"unit and function", request, "01 03", "", 5, ""},
		{"header", request, "01 03 02", "", 4, ""},
		{"all but one", request, answer[:18], "", 1, ""},
		{"noise", request, "FF 00 55" + answer, answer, 0, ""},
		{"noise that looks like a header", request, "01 03 02" + answer, answer, 0, ""},
		{"noise that looks like a unit", request, "01 01 01" + answer, answer, 0, ""},
		{"noise behind", request, answer + "FF FF", answer, 0, ""},
		{"echo", request, request + answer, answer, 0, ""},
		{"foreign", request, "02 03 02 00 07 BD 86" + answer, answer, 0, ""},
		{"exception", request, "01 83 02 C0 F1", "01 83 02 C0 F1", 0, ""},
		{"exception in pieces", request, "01 83 02 C0", "", 1, ""},
		{"exception to another function", request, "01 84 02 C2 C1", "", 5, ""},
		{"bad CRC", request, "01 03 02 00 2A 39 9C", "", 5, ""},
		{"another length", request, "01 03 04 00 2A 00 2B 9B E4", "", 5, "4 bytes where 2"},
		{"another length first", request, "01 03 04 00 2A 00 2B 9B E4" + answer, answer, 0, "4 bytes where 2"},
		{"write confirmed", "01 10 00 01 00 01 02 00 07 E6 43", "01 10 00 01 00 01 50 09", "01 10 00 01 00 01 50 09", 0, ""},
		{"another write confirmed", "01 10 00 01 00 01 02 00 07 E6 43", "01 10 00 02 00 01 A0 09", "", 5, "another write"},
		{"register written", "01 06 00 01 00 07 99 C8", "01 06 00 01 00 07 99 C8", "01 06 00 01 00 07 99 C8", 0, ""},
		{"another value written", "01 06 00 01 00 07 99 C8", "01 06 00 01 00 08 D9 CC", "", 5, "another write"},
	} {
		d := asking(RTU, unhex(c.request))
		got, _, missing, err := d.findRTU(unhex(c.got))
		if err != nil || !bytes.Equal(got, unhex(c.want)) || missing != c.missing || !strings.Contains(d.asked.fault, c.fault) {
			t.Errorf("%s: % x, %d missing, %v, fault %q; want %s, %d missing, fault %q", c.name, got, missing, err, d.asked.fault, c.want, c.missing, c.fault)
		}
	}
}

// TestEchoOfWrite: where the confirmation looks like the request, one copy does not confirm on a line that echoes.
func TestEchoOfWrite(t *testing.T) {
	write := unhex("01 06 00 01 00 07 99 C8")
	d := asking(RTU, write)
	d.echoes = 1
	if got, _, missing, _ := d.findRTU(write); got != nil || missing != 5 {
		t.Errorf("the echo is taken for the answer: % x, %d missing", got, missing)
	}
	if got, _, _, _ := d.findRTU(append(slices.Clone(write), write...)); !bytes.Equal(got, write) {
		t.Errorf("the answer behind the echo is not found: % x", got)
	}
}

func TestFindTCP(t *testing.T) {
	const request = "00 05 00 00 00 06 11 03 00 6B 00 01"
	const answer = "00 05 00 00 00 05 11 03 02 00 2A"
	for _, c := range []struct {
		name, request, got, want string
		skip, missing            int
		fault                    string
		fails                    bool
	}{
		{"nothing", request, "", "", 0, 9, "", false},
		{"whole", request, answer, answer, 11, 0, "", false},
		{"header", request, answer[:17], "", 0, 5, "", false},
		{"late one", request, "00 04 00 00 00 05 11 03 02 00 07", "", 11, 9, "", false},
		{"late one first", request, "00 04 00 00 00 05 11 03 02 00 07" + answer, answer, 22, 0, "", false},
		{"exception", request, "00 05 00 00 00 03 11 83 02", "00 05 00 00 00 03 11 83 02", 9, 0, "", false},
		{"another unit", request, "00 05 00 00 00 05 12 03 02 00 07", "", 11, 9, "unit 18", false},
		{"another function", request, "00 05 00 00 00 05 11 04 02 00 07", "", 11, 9, "function 4", false},
		{"short", request, "00 05 00 00 00 03 11 03 00", "00 05 00 00 00 03 11 03 00", 9, 0, "0 bytes where 2", false},
		{"protocol", request, "00 05 00 01 00 05 11 03 02 00 2A", "", 0, 0, "", true},
		{"length", request, "00 05 00 00 01 05 11 03 02 00 2A", "", 0, 0, "", true},
		{"alone, 255 for 0", "00 05 00 00 00 06 00 03 00 6B 00 01", "00 05 00 00 00 05 FF 03 02 00 2A", "00 05 00 00 00 05 FF 03 02 00 2A", 11, 0, "", false},
		{"not alone, 0 for 17", request, "00 05 00 00 00 05 00 03 02 00 2A", "", 11, 9, "unit 0", false},
	} {
		d := asking(TCP, unhex(c.request))
		got, skip, missing, err := d.findTCP(unhex(c.got))
		if !bytes.Equal(got, unhex(c.want)) || skip != c.skip || missing != c.missing || (err != nil) != c.fails ||
			!strings.Contains(d.asked.fault, c.fault) || c.fault == "" && d.asked.fault != "" {
			t.Errorf("%s: % x, skip %d, %d missing, %v, fault %q; want %s, skip %d, %d missing, fault %q", c.name, got, skip, missing, err, d.asked.fault,
				c.want, c.skip, c.missing, c.fault)
		}
	}
}

// TestFindAmongNoise hides an answer behind random bytes, echoes and foreign frames, and shows it byte by byte.
func TestFindAmongNoise(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for round := range 3000 {
		quantity := 1 + rng.IntN(125)
		request := seal([]byte{9, 3, 0, byte(rng.IntN(256)), 0, byte(quantity)})
		frame := func(unit byte) []byte {
			data := []byte{unit, 3, byte(2 * quantity)}
			for range 2 * quantity {
				data = append(data, byte(rng.IntN(12))) // many bytes that look like a unit or a function
			}
			return seal(data)
		}
		var came []byte
		for range rng.IntN(3) {
			switch rng.IntN(3) {
			case 0:
				for range rng.IntN(12) {
					came = append(came, byte(rng.IntN(12)))
				}
			case 1:
				came = append(came, frame(byte(1+rng.IntN(8)))...)
			default:
				came = append(came, request...)
			}
		}
		answer := frame(9)
		came = append(came, answer...)
		d := asking(RTU, request)
		for n := range len(came) {
			if got, _, missing, err := d.findRTU(came[:n]); got != nil || missing < 1 || err != nil {
				t.Fatalf("round %d: with %d of %d bytes: % x, %d missing, %v", round, n, len(came), got, missing, err)
			}
		}
		if got, skip, _, _ := d.findRTU(came); !bytes.Equal(got, answer) || skip != len(came) {
			t.Fatalf("round %d: % x among % x, want % x", round, got, came, answer)
		}
	}
}

// TestCodeTable keeps goburrow's codes and ours in step.
func TestCodeTable(t *testing.T) {
	for sp, want := range map[register.Space]byte{
		register.Coil: modbus.FuncCodeReadCoils, register.Discrete: modbus.FuncCodeReadDiscreteInputs,
		register.Input: modbus.FuncCodeReadInputRegisters, register.Holding: modbus.FuncCodeReadHoldingRegisters,
	} {
		if got := sp.Function(); got != want {
			t.Errorf("%v is read with function %d, want %d", sp, got, want)
		}
	}
	for code := range byte(12) {
		theirs := (&modbus.ModbusError{ExceptionCode: code}).Error()
		if ours := exceptionName(code); !strings.Contains(theirs, "unknown") && !strings.Contains(theirs, fmt.Sprintf("(%s)", strings.Split(ours, ":")[0])) {
			t.Errorf("exception %d is %q to us and %q to goburrow", code, ours, theirs)
		}
	}
}
