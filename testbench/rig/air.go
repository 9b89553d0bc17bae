package rig

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"edgegateway/testbench/privatebus"
	"edgegateway/testbench/sim/ble"
)

// Air is a place with Bluetooth sensors: a BlueZ of the testbench's own on a private message bus, sensors that advertise
// once a period, and strangers with ever new addresses among them.
type Air struct {
	BlueZ   *ble.BlueZ
	Bus     *privatebus.Bus
	sensors []*ble.Device
	dir     string

	mu   sync.Mutex
	sent int // messages of sensors that went out, each a new one

	strange int
}

// NewAir makes a place with n sensors. The error is privatebus.ErrMissing where there is no dbus-daemon.
func NewAir(n int) (*Air, error) {
	dir, err := os.MkdirTemp("", "air-") // a short path: it becomes the address of a socket
	if err != nil {
		return nil, err
	}
	a := &Air{dir: dir}
	if a.Bus, err = privatebus.Start(dir); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	if a.BlueZ, err = ble.New(a.Bus.Address); err != nil {
		a.Close()
		return nil, err
	}
	for i := range n {
		d, err := a.BlueZ.Add(sensorAddress(i), fmt.Sprintf("sensor %d", i))
		if err != nil {
			a.Close()
			return nil, err
		}
		a.sensors = append(a.sensors, d)
	}
	return a, nil
}

// Close ends everything.
func (a *Air) Close() {
	if a.BlueZ != nil {
		a.BlueZ.Close()
	}
	a.Bus.Stop()
	_ = os.RemoveAll(a.dir)
}

// Env is what a daemon's environment needs to find the bus.
func (a *Air) Env() string { return "DBUS_SYSTEM_BUS_ADDRESS=" + a.Bus.Address }

func sensorAddress(i int) string { return fmt.Sprintf("C0:00:00:00:%02X:%02X", i>>8, i&0xFF) }

// Run has every sensor advertise once a period, evenly spread over it, and so many strangers a period, each with an
// address of its own that is forgotten half a minute later, as BlueZ does. It ends with the context; then nothing more is sent.
func (a *Air) Run(ctx context.Context, period time.Duration, strangers int) error {
	count := len(a.sensors) + strangers
	tick := time.NewTicker(period / time.Duration(count))
	defer tick.Stop()
	start := time.Now()
	var gone []*ble.Device
	perForget := max(1, int(30*time.Second/period)*strangers)
	for i := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		due := int(time.Since(start) * time.Duration(count) / period)
		for i = max(i, due-count/2); i < due; i++ { // a busy machine catches up, but no sensor speaks twice at once
			round, k := i/count, i%count
			if k < len(a.sensors) {
				if err := a.advertise(k, round); err != nil {
					return err
				}
				continue
			}
			d, err := a.stranger()
			if err != nil {
				return err
			}
			if gone = append(gone, d); len(gone) > perForget {
				if err := gone[0].Vanish(); err != nil {
					return err
				}
				a.BlueZ.Forget(gone[0])
				gone = gone[1:]
			}
		}
	}
}

// advertise sends one message of a sensor: its number is that of the round.
func (a *Air) advertise(k, round int) error {
	sent, err := a.sensors[k].Advertise(ble.Ruuvi(int16(4000+k%400+round%50), 20000, 100000+k, uint16(round)))
	if sent {
		a.mu.Lock()
		a.sent++
		a.mu.Unlock()
	}
	return err
}

func (a *Air) stranger() (*ble.Device, error) {
	a.strange++
	d, err := a.BlueZ.Add(fmt.Sprintf("5A:00:%02X:%02X:%02X:%02X", byte(a.strange>>24), byte(a.strange>>16), byte(a.strange>>8), byte(a.strange)), "")
	if err != nil {
		return nil, err
	}
	_, err = d.Advertise(ble.BTHome(byte(a.strange), 2000))
	return d, err
}

// Sent counts the messages of sensors that went out.
func (a *Air) Sent() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sent
}

// Strangers counts those that there ever were.
func (a *Air) Strangers() int { return a.strange }

// Lines is the part of a configuration that tells of the place: the radio, and each sensor told of so often at most.
func (a *Air) Lines(every time.Duration) string {
	var b strings.Builder
	b.WriteString("[[line]]\nname  = \"radio\"\nradio = \"hci0\"\n\n")
	for i := range a.sensors {
		fmt.Fprintf(&b, "[[device]]\nname     = \"sensor-%d\"\nline     = \"radio\"\nprotocol = \"ble\"\naddress  = %q\nevery    = %q\n\n", i, sensorAddress(i), every)
		for _, tag := range [...]string{"temperature", "humidity", "pressure", "battery_voltage", "sequence", "rssi"} {
			fmt.Fprintf(&b, "[[tag]]\ndevice = \"sensor-%d\"\nname   = %q\nat     = %q\n\n", i, tag, tag)
		}
	}
	return b.String()
}

// Config is a whole configuration with the place alone.
func (a *Air) Config(gateway, server string, every time.Duration) string {
	return fmt.Sprintf("[gateway]\nname = %q\n\n[platform]\nservers = [%q]\n\n", gateway, server) + a.Lines(every)
}
