package uplink

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/dialect"
)

const (
	benchTopic  = "bench/data"
	benchWindow = 100 // messages in flight
)

var benchPayload = []byte(strings.Repeat("x", 84))

// BenchmarkDrain sends the same messages to mosquitto three ways in one run: raw is a socket with pre-encoded packets,
// the yardstick; paho is the MQTT client as it comes; uplink is this package. It reports rates, CPU and their ratios:
//
//	go test ./gatewayd/uplink -run none -bench Drain -benchtime 5x
func BenchmarkDrain(b *testing.B) {
	url := mosquitto(b, "log_type error")
	addr := strings.TrimPrefix(url, "mqtt://")
	const n = 20_000
	ways := []struct {
		name  string
		drain func(testing.TB, string, int)
		took  time.Duration
		cpu   time.Duration
	}{{name: "raw", drain: drainRaw}, {name: "paho", drain: drainPaho}, {name: "uplink", drain: drainUplink}}
	for b.Loop() {
		for i := range ways {
			w := &ways[i]
			began, cpu := time.Now(), cpuTime(b)
			w.drain(b, addr, n)
			w.took += time.Since(began)
			w.cpu += cpuTime(b) - cpu
		}
	}
	total := float64(b.N) * n
	for _, w := range ways {
		b.ReportMetric(total/w.took.Seconds(), w.name+"-msg/s")
		b.ReportMetric(float64(w.cpu.Microseconds())/total, w.name+"-cpu-us/msg")
	}
	b.ReportMetric(ways[0].took.Seconds()/ways[2].took.Seconds(), "uplink/raw")
	b.ReportMetric(ways[1].took.Seconds()/ways[2].took.Seconds(), "uplink/paho")
	b.ReportMetric(0, "ns/op")
}

func cpuTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// drainRaw publishes n pre-encoded messages and reads their PUBACKs, with benchWindow out at most.
func drainRaw(t testing.TB, addr string, n int) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	connect := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	connect.ProtocolName, connect.ProtocolVersion, connect.CleanSession, connect.ClientIdentifier = "MQTT", 4, true, "raw"
	if err := connect.Write(c); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReaderSize(c, 16<<10)
	if _, err := packets.ReadPacket(in); err != nil {
		t.Fatal(err)
	}
	packet := append([]byte{0x32, byte(4 + len(benchTopic) + len(benchPayload)), 0, byte(len(benchTopic))}, benchTopic...)
	id := len(packet)
	packet = append(append(packet, 0, 0), benchPayload...)
	out := bufio.NewWriterSize(c, 64<<10)
	ack := make([]byte, 4)
	for sent, acked := 0, 0; acked < n; {
		for sent < n && sent-acked < benchWindow {
			sent++
			binary.BigEndian.PutUint16(packet[id:], uint16(sent%65535+1))
			if _, err := out.Write(packet); err != nil {
				t.Fatal(err)
			}
		}
		if err := out.Flush(); err != nil {
			t.Fatal(err)
		}
		for first := true; acked < sent && (first || in.Buffered() >= len(ack)); first = false {
			if _, err := io.ReadFull(in, ack); err != nil {
				t.Fatal(err)
			}
			acked++
		}
	}
}

// drainPaho is the MQTT client with its defaults.
func drainPaho(t testing.TB, addr string, n int) {
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("paho"))
	if token := c.Connect(); token.Wait() && token.Error() != nil {
		t.Fatal(token.Error())
	}
	defer c.Disconnect(0)
	out := make(chan mqtt.Token, benchWindow-1)
	go func() {
		defer close(out)
		for range n {
			out <- c.Publish(benchTopic, 1, false, benchPayload)
		}
	}()
	for token := range out {
		token.Wait()
		if token.Error() != nil {
			t.Fatal(token.Error())
		}
	}
}

func drainUplink(t testing.TB, addr string, n int) {
	src := &endless{left: n, ready: make(chan struct{}, 1), done: make(chan struct{})}
	u, err := New(Options{Name: "bench", Servers: []string{"mqtt://" + addr}, Dialect: plain{}, Source: src})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- u.Run(ctx) }()
	<-src.done
	cancel()
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}

// plain is a dialect that says the same of everything.
type plain struct{}

func (plain) Session() (dialect.Session, error) { return dialect.Session{ClientID: "uplink"}, nil }
func (plain) Encode(dialect.Batch) ([]dialect.Message, error) {
	return []dialect.Message{{Topic: benchTopic, Payload: benchPayload, QoS: 1}}, nil
}
func (plain) Command(dialect.Message) (command.Request, error) { return command.Request{}, io.EOF }

// endless is a Source of batches of one record, benchWindow out at most.
type endless struct {
	left, out int
	ready     chan struct{}
	done      chan struct{}
}

func (e *endless) Ready() <-chan struct{} { return e.ready }
func (e *endless) Next(lane buffer.Lane, _, _ int) (*buffer.Batch, bool) {
	if lane != buffer.Backlog || e.left == 0 || e.out == benchWindow {
		return nil, false
	}
	e.left--
	e.out++
	return &buffer.Batch{Lane: lane, Class: field.Readings, Backfill: true, Records: make([]field.Record, 1)}, true
}

func (e *endless) Ack(*buffer.Batch) {
	e.out--
	select {
	case e.ready <- struct{}{}:
	default:
	}
	if e.left == 0 && e.out == 0 {
		close(e.done)
	}
}

func (e *endless) Reject(*buffer.Batch, string) { panic("nothing is poison here") }
func (e *endless) Rewind()                      {}
