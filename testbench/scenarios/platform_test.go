package scenarios

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"edgegateway/testbench/broker"
	"edgegateway/testbench/consumer"
	"edgegateway/testbench/rig"
	"edgegateway/testbench/wan"
)

const (
	gatewayName = "box"
	first       = "platform" // the name of [platform]
)

// platform is a broker, the link that leads to it, and the consumer behind it.
type platform struct {
	name, prefix string
	mosquitto    *rig.Mosquitto // or
	broker       *broker.Broker
	subscribed   chan struct{} // has a token each time when mosquitto has let the consumer in
	link         *wan.Link
	recorder     *consumer.Recorder
	connects     uint64 // how often the daemon had connected to it when its status was last looked at, but for a loss

	mu       sync.Mutex
	restored time.Time // when the way to it was last restored
	backfill time.Time // when the first record came since then that had not left at once
	events   []consumer.Event
	records  map[string][]consumer.Record // by device; values apart from last are dropped but for count and reads
	last     map[string]string            // by device/tag
}

func (s *scenario) cmdBroker(ts *testscript.TestScript, args []string) error {
	if len(args) > 0 && slices.Contains([]string{"kill", "stop", "start", "forget", "mute", "swallow", "heal"}, args[0]) {
		p, err := s.named(args, 1)
		if err != nil {
			return err
		}
		s.fault()
		return s.brokerFault(p, args[0])
	}
	p := &platform{name: first, prefix: "gw/" + gatewayName, last: map[string]string{}, records: map[string][]consumer.Record{}}
	embedded, secure, down := *embed, false, false
	for _, a := range args {
		switch k, v, _ := strings.Cut(a, "="); {
		case a == "embedded":
			embedded = true
		case a == "tls":
			embedded, secure = true, true
		case a == "down":
			down = true
		case k == "prefix":
			p.prefix = v
		default:
			p.name = a
		}
	}
	p.recorder = consumer.New(consumer.Options{
		Prefix: p.prefix, FromStart: true, Destination: p.name, Record: p.record, Event: p.event,
	})
	s.platforms = append(s.platforms, p)
	scheme := "mqtt://"
	err := error(rig.ErrNoMosquitto)
	if !embedded {
		err = s.newMosquitto(p, down)
	}
	if errors.Is(err, rig.ErrNoMosquitto) {
		var config *tls.Config
		if secure {
			scheme = "mqtts://"
			if config, err = s.newAuthority(); err != nil {
				return err
			}
		}
		err = s.newEmbedded(p, config, down)
	}
	if err != nil {
		return err
	}
	address := ""
	if p.mosquitto != nil {
		ts.Logf("%s: mosquitto", p.name)
		address = p.mosquitto.Address()
	} else {
		ts.Logf("%s: the embedded broker", p.name)
		address = p.broker.Address()
	}
	if p.link, err = s.link(address); err != nil {
		return err
	}
	ts.Setenv(strings.ToUpper(p.name), scheme+p.link.Address())
	return nil
}

func (s *scenario) newEmbedded(p *platform, config *tls.Config, down bool) (err error) {
	if p.broker, err = broker.New(broker.Options{TLS: config}); err != nil {
		return err
	}
	if err := p.broker.Tap(p.prefix+"/#", func(m broker.Message) { p.recorder.Take(m.Topic, m.Payload, m.Retained) }); err != nil {
		return err
	}
	if down {
		p.broker.Down()
	}
	s.wait.Go(func() { _ = p.broker.Run(s.ctx) })
	return nil
}

func (s *scenario) newMosquitto(p *platform, down bool) (err error) {
	dir := filepath.Join(s.dir, "mosquitto-"+p.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if p.mosquitto, err = rig.NewMosquitto(dir); err != nil {
		return err
	}
	p.subscribed = make(chan struct{}, 1)
	s.wait.Go(func() { p.consume(s.ctx) })
	if down {
		return nil
	}
	return p.up(s.ctx)
}

// up starts mosquitto, and returns when the consumer has subscribed: what a broker without a session for anybody
// acknowledges is lost, and no fault of the gateway's.
func (p *platform) up(ctx context.Context) error {
	select {
	case <-p.subscribed:
	default:
	}
	if err := p.mosquitto.Start(ctx); err != nil {
		return err
	}
	select {
	case <-p.subscribed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(20 * time.Second):
		return errors.New("mosquitto does not let the consumer subscribe")
	}
}

// consume keeps a subscription at mosquitto whose session outlives connections.
func (p *platform) consume(ctx context.Context) {
	for ctx.Err() == nil {
		c, err := broker.Dial(ctx, broker.ClientOptions{
			Address: p.mosquitto.Address(), ID: "consumer", Keep: true,
			Take: func(m broker.Message) { p.recorder.Take(m.Topic, m.Payload, m.Retained) },
		})
		if err == nil {
			if c.Subscribe(ctx, p.prefix+"/#") == nil {
				select {
				case p.subscribed <- struct{}{}:
				default:
				}
				select {
				case <-c.Done():
				case <-ctx.Done():
				}
			}
			_ = c.Close() // it may have ended by itself
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (s *scenario) brokerFault(p *platform, what string) error {
	if p.broker != nil {
		switch what {
		case "kill", "stop": // its sessions stay
			p.broker.Down()
			return nil
		case "start":
			p.arrive()
			return p.broker.Up()
		case "forget":
			p.arrive()
			return p.broker.Restart(false)
		case "mute":
			p.broker.Set(broker.Faults{Mute: true})
			return nil
		case "swallow":
			p.broker.Set(broker.Faults{Swallow: true})
			return nil
		case "heal":
			p.arrive()
			p.broker.Set(broker.Faults{})
			return nil
		}
	}
	switch what {
	case "kill":
		p.mosquitto.Kill()
	case "stop":
		p.mosquitto.Stop()
	case "start":
		p.link.Cut() // the consumer comes first
		if err := p.up(s.ctx); err != nil {
			return err
		}
		p.arrive()
		p.link.Restore()
		s.fault()
	default:
		return fmt.Errorf("mosquitto cannot %s: say \"broker embedded\"", what)
	}
	return nil
}

func (s *scenario) cmdWAN(ts *testscript.TestScript, args []string) error {
	if len(args) == 0 {
		return errors.New("wan FAULT")
	}
	n := faultArgs(args[0])
	p, err := s.named(args, 1+n)
	if err != nil {
		return err
	}
	if args[0] == "restore" {
		p.arrive()
	}
	s.fault()
	return faulty(p.link, args[0], args[1:1+n]...)
}

// arrive notes that the way to the platform is free from now on.
func (p *platform) arrive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.restored, p.backfill = time.Now(), time.Time{}
}

func (p *platform) record(r consumer.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Backfill && p.backfill.IsZero() && !p.restored.IsZero() {
		p.backfill = r.Arrived
	}
	for tag, v := range r.Values {
		p.last[r.Device+"/"+tag] = string(v)
	}
	p.records[r.Device] = append(p.records[r.Device], r)
}

func (p *platform) event(e consumer.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, e)
}

// of gives what came of a device.
func (p *platform) of(device string) []consumer.Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.records[device])
}

// happened says whether an event came that fits, since a moment.
func (p *platform) happened(since time.Time, fits func(*consumer.Event) bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.events, func(e consumer.Event) bool { return !e.Arrived.Before(since) && fits(&e) })
}
