package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Yardstick does the least work that carries the same bytes: for each device a goroutine that sends two canned
// requests a period on a raw socket, reads the answers, and looks at nothing; and ten times a second at most one MQTT
// message with as many bytes as the daemon would send, acknowledged by the broker. It runs until the context ends, in a
// process of its own.
func Yardstick(ctx context.Context, devices []string, broker string, every time.Duration) error {
	var wait sync.WaitGroup
	defer wait.Wait()
	errs := make(chan error, len(devices)+1)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for i, address := range devices {
		wait.Go(func() { errs <- pollRaw(ctx, address, every, time.Duration(i)*every/time.Duration(len(devices))) })
	}
	wait.Go(func() { errs <- publishRaw(ctx, broker, len(devices), every) })
	err := <-errs
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func pollRaw(ctx context.Context, address string, every, phase time.Duration) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	select {
	case <-time.After(phase):
	case <-ctx.Done():
		return ctx.Err()
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	requests := [2][12]byte{
		{0, 1, 0, 0, 0, 6, 1, 4, 0, 0, 0, 100},
		{0, 2, 0, 0, 0, 6, 1, 4, 0, 100, 0, 100},
	}
	var answer [9 + 200]byte
	for {
		for i := range requests {
			if _, err := conn.Write(requests[i][:]); err != nil {
				return err
			}
			if _, err := io.ReadFull(conn, answer[:]); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// bytesPerReading is about what the native dialect takes.
const bytesPerReading = 14

// publishRaw sends what the devices yield, pre-encoded, as QoS 1 messages over a raw socket.
func publishRaw(ctx context.Context, address string, devices int, every time.Duration) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	id := "yardstick"
	connect := append([]byte{0x10, byte(12 + len(id)), 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, byte(len(id))}, id...)
	if _, err := conn.Write(connect); err != nil {
		return err
	}
	in := bufio.NewReader(conn)
	if _, err := io.ReadFull(in, make([]byte, 4)); err != nil {
		return err
	}
	period := max(every/time.Duration(devices), 100*time.Millisecond)
	readings := float64(devices) * 100 * period.Seconds() / every.Seconds()
	message := publish("yard/data", make([]byte, int(readings*bytesPerReading)))
	tick := time.NewTicker(period)
	defer tick.Stop()
	var ack [4]byte
	for {
		if _, err := conn.Write(message); err != nil {
			return err
		}
		if _, err := io.ReadFull(in, ack[:]); err != nil {
			return err
		}
		if ack[0] != 0x40 {
			return fmt.Errorf("%x is no PUBACK", ack)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// publish makes a PUBLISH with QoS 1 and packet id 1 (MQTT 3.1.1, 3.3).
func publish(topic string, payload []byte) []byte {
	b := []byte{0x32}
	for n := 2 + len(topic) + 2 + len(payload); ; {
		digit := byte(n & 0x7f)
		if n >>= 7; n == 0 {
			b = append(b, digit)
			break
		}
		b = append(b, digit|0x80)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(topic)))
	b = append(append(b, topic...), 0, 1)
	return append(b, payload...)
}
