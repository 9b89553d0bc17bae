package ble_test

import (
	"slices"
	"sync"
	"testing"

	"edgegateway/adapters/ble"
	sim "edgegateway/testbench/sim/ble"
)

// counters keeps the numbers of one test, as long as it lasts.
type counters struct {
	mu   sync.Mutex
	last map[ble.Series]uint32
}

func (c *counters) Last(s ble.Series) (n uint32, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok = c.last[s]
	return n, ok
}

func (c *counters) Note(s ble.Series, n uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last[s] = n
}

// TestRemember: a new driver goes on where the one before was with its device's messages, unless the key is another one
// or the configuration says anew that the device begins to count again.
func TestRemember(t *testing.T) {
	const key, otherKey = "231d39c1d7cc1ab1aee224cd096db932", "5b51a7c91cde6707c9ef18dfda143a58"
	kept := &counters{last: map[ble.Series]uint32{}}
	for _, life := range []struct {
		name, secret, key string
		restarts          string
		said              []uint32 // numbers of messages; the temperature is the number
		heard             []string
		refused, repeats  uint64
	}{
		{"nothing is known", "key", key, "false", []uint32{500, 501}, []string{"cellar: t=5", "cellar: t=5.01"}, 0, 0},
		{"it is known", "key", key, "false", []uint32{500, 501, 30, 502}, []string{"cellar: t=5.02"}, 2, 1},
		{"another key", "other-key", otherKey, "false", []uint32{7, 8}, []string{"cellar: t=0.07", "cellar: t=0.08"}, 0, 0},
		{"the first key again", "key", key, "false", []uint32{501, 503}, []string{"cellar: t=5.03"}, 1, 0},
		{"it is said that it restarts", "key", key, "true", []uint32{150, 151}, []string{"cellar: t=1.5", "cellar: t=1.51"}, 0, 0},
		{"it restarts", "key", key, "true", []uint32{150, 99, 100}, []string{"cellar: t=0.99", "cellar: t=1"}, 1, 0},
	} {
		t.Run(life.name, func(t *testing.T) {
			r := newRig(t)
			r.device("cellar", homeAddress, map[string]string{"key": life.secret, "counter_restarts": life.restarts}, "t = temperature")
			r.driver.Remember(kept)
			r.run()
			r.listening()
			d := r.put(homeAddress, "")
			for _, n := range life.said {
				a, err := sim.SealedBTHome(homeAddress, life.key, n, 0x02, byte(n), byte(n>>8))
				if err != nil {
					t.Fatal(err)
				}
				r.say(d, a)
			}
			r.await("all are heard", func() bool {
				s := r.driver.Stats()
				return s.Replayed == life.refused && s.Repeats == life.repeats && slices.Equal(r.heard(), life.heard)
			})
		})
	}
}
