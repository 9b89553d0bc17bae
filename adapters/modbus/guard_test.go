package modbus

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/field/fieldtest"
)

// TestNeverWrong is TestNotOneWrongValue where time is virtual, so that nothing but the driver decides: whatever comes
// late, as long as it comes within the guard, a value is the one that the very request was answered with.
func TestNeverWrong(t *testing.T) {
	const timeout, guard = 100 * time.Millisecond, 300 * time.Millisecond
	for _, f := range []Framing{RTU, TCP} {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(7, 8))
			chance := func(p float64) bool { return rng.Float64() < p }
			noise := func() []byte {
				b := make([]byte, rng.IntN(9))
				for i := range b {
					b[i] = byte(rng.IntN(8))
				}
				return b
			}
			sequence := uint16(0)
			line := &fieldtest.Line{Stream: f == TCP}
			line.Peer = func(request []byte) []fieldtest.Chunk {
				sequence++
				_, pdu := unwrap(f, request)
				data := []byte{pdu[0], 4}
				data = binary.BigEndian.AppendUint16(data, sequence)
				data = append(data, pdu[1], pdu[2])
				if chance(0.02) {
					data = []byte{pdu[0] | 0x80, 6}
				}
				frame := wrap(f, request, data)
				delay := time.Duration(rng.Int64N(int64(timeout / 2)))
				var chunks []fieldtest.Chunk
				if f == RTU {
					if chance(0.1) {
						chunks = append(chunks, fieldtest.Chunk{Bytes: request})
					}
					if chance(0.1) {
						other := append([]byte{9}, data...)
						chunks = append(chunks, fieldtest.Chunk{After: delay, Bytes: seal(other)})
					}
					if chance(0.1) {
						frame = append(noise(), frame...)
					}
					if chance(0.1) {
						frame = append(frame, noise()...)
					}
				}
				switch {
				case chance(0.05):
					delay = timeout + time.Duration(rng.Int64N(int64(guard)))
				case chance(0.02):
					return chunks
				}
				cut := len(frame)
				if chance(0.1) {
					cut = rng.IntN(len(frame))
				}
				return append(chunks, fieldtest.Chunk{After: delay, Bytes: frame[:cut]}, fieldtest.Chunk{After: delay + time.Millisecond, Bytes: frame[cut:]})
			}
			d := New(line, f, Options{Guard: guard})
			var stations []field.Station
			for unit := 1; unit <= 2; unit++ {
				for first := 0; first < 30; first += 10 {
					s, err := d.Bind(field.Device{Name: "d", Address: fmt.Sprint(unit), Timeout: timeout, Tags: []field.Tag{
						{Name: "sequence", At: fmt.Sprintf("input %d", first), Type: "uint16"},
						{Name: "address", At: fmt.Sprintf("input %d", first+1), Type: "uint16"},
					}})
					if err != nil {
						t.Fatal(err)
					}
					stations = append(stations, s)
				}
			}
			good := 0
			const polls = 20_000
			for range polls {
				i := rng.IntN(len(stations))
				r, err := stations[i].Read(t.Context(), field.MainGroup)
				if err != nil || r.Quality != nil {
					continue
				}
				good++
				if want := field.Uint(uint64(i % 3 * 10)); r.Values[0] != field.Uint(uint64(sequence)) || r.Values[1] != want {
					t.Fatalf("%v: request %d for address %v gave %v", f, sequence, want, r.Values)
				}
			}
			if good < polls*3/4 {
				t.Errorf("%v: only %d of %d polls are good", f, good, polls)
			}
			t.Logf("%v: %d of %d polls good, listened %d times", f, good, polls, line.Listened)
		})
	}
}
