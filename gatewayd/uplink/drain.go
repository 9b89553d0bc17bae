package uplink

import (
	"context"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"edgegateway/buffer"
	"edgegateway/gatewayd/dialect"
)

// flight is one message on its way.
type flight struct {
	token mqtt.Token
	batch *buffer.Batch // that is acknowledged with this message, its last; else nil
	birth bool
	bytes int
	ahead int  // bytes in flight when it left, its own included
	full  bool // the window was the limit when it left
	sent  time.Time
}

// maxRecords bounds a batch: its bytes are the real limit.
const maxRecords = 2000

// work sends and reaps until the connection ends, and gives the reason; nil when the context has ended, and what was
// out is acknowledged or had stopTimeout for it.
func (s *session) work(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	stop, ready := ctx.Done(), s.u.opts.Source.Ready()
	var giveUp time.Time // when stopping
	for {
		cut, moved := s.u.cutState()
		if cut {
			return errCut
		}
		if err := s.renew(); err != nil {
			return err
		}
		now := time.Now()
		if err := s.reap(now); err != nil {
			return err
		}
		s.linger = false
		if stop != nil {
			if err := s.fill(now); err != nil {
				return err
			}
		} else if len(s.out) == 0 || !now.Before(giveUp) {
			return nil
		}
		if s.overdue(now) {
			return errNoAck
		}
		rest := time.Until(s.nextLook(now, giveUp))
		s.u.promise(rest)
		timer.Reset(rest)
		look := ready
		if s.linger { // woken once for what lingers, not by each record that joins it
			look = nil
		}
		select {
		case <-s.headDone():
		case <-look:
			s.awake = true
		case <-timer.C:
		case <-s.suback():
			s.checkSubscription()
		case <-moved:
		case <-s.conn.Done():
			return s.conn.Err()
		case <-stop:
			stop, ready = nil, nil
			giveUp = time.Now().Add(stopTimeout)
		}
	}
}

// headDone is closed when the oldest message out is acknowledged; nil, which blocks, when none is out.
func (s *session) headDone() <-chan struct{} {
	if len(s.out) == 0 {
		return nil
	}
	return s.out[0].token.Done()
}

func (s *session) suback() <-chan struct{} {
	if s.subscribed == nil {
		return nil
	}
	return s.subscribed.Done()
}

// nextLook is when there is something to do even if nothing happens.
func (s *session) nextLook(now, giveUp time.Time) time.Time {
	at := now.Add(time.Hour)
	if s.linger {
		at = s.liveAt.Add(s.u.opts.Linger)
	}
	if len(s.out) > 0 {
		if due := s.owedSince().Add(s.patience()); due.Before(at) {
			at = due
		}
	}
	if !giveUp.IsZero() && giveUp.Before(at) {
		at = giveUp
	}
	return at
}

// owedSince is since when the broker owes us a PUBACK without having given any.
func (s *session) owedSince() time.Time {
	if sent := s.out[0].sent; sent.After(s.lastAck) {
		return sent
	}
	return s.lastAck
}

// patience is how long no PUBACK at all may come: longer where they are always slow.
func (s *session) patience() time.Duration {
	least := s.u.opts.AckTimeout
	return min(max(10*s.delay, least), 2*least)
}

func (s *session) overdue(now time.Time) bool {
	return len(s.out) > 0 && now.Sub(s.owedSince()) >= s.patience()
}

// reap takes what the broker has acknowledged off the head, and tells the source. The MQTT client's tokens are
// believed because it neither reconnects nor resends: success can only be a PUBACK.
func (s *session) reap(now time.Time) error {
	for len(s.out) > 0 {
		f := &s.out[0]
		select {
		case <-f.token.Done():
		default:
			return nil
		}
		if err := f.token.Error(); err != nil {
			return err
		}
		took := now.Sub(f.sent)
		s.window.acked(f.bytes, f.ahead, took, f.full, now)
		if s.delay == 0 {
			s.delay = took
		}
		s.delay += (took - s.delay) / 8
		s.lastAck = now
		s.inFlight -= f.bytes
		if f.batch != nil {
			s.settle(f.batch)
		}
		s.count(f, now)
		*f = flight{}
		s.out = s.out[1:]
	}
	return nil
}

// settle tells the source that the batch has arrived. Suspects that were held back for it are offered again: it was out
// alone with them.
func (s *session) settle(b *buffer.Batch) {
	s.acked += uint64(len(b.Records))
	again := s.u.trial.acked(b)
	s.u.opts.Source.Ack(b)
	if again {
		s.u.opts.Source.Rewind()
		s.awake = true
	}
}

func (s *session) reject(b *buffer.Batch, why string) {
	s.u.log.Error("a record is given up", "class", b.Class, "epoch", b.Epoch, "seq", b.Records[0].Seq, "why", why)
	s.u.opts.Source.Reject(b, why)
	s.u.update(func(st *Stats) { st.Rejected += uint64(len(b.Records)) })
}

func (s *session) count(f *flight, now time.Time) {
	readings := 0
	if f.batch != nil {
		for i := range f.batch.Records {
			readings += f.batch.Records[i].Readings()
		}
	}
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	st := &s.u.stats
	st.Messages++
	st.Bytes += uint64(f.bytes)
	st.InFlight, st.Window, st.AckDelay = s.inFlight, s.window.limit(), s.delay
	if f.batch != nil {
		n := len(f.batch.Records)
		st.Records += uint64(n)
		st.Readings += uint64(readings)
		if f.batch.Backfill {
			st.Backfilled += uint64(n)
			s.u.meter.add(n, now)
		}
	}
}

// fill sends as long as the source has something that may leave now.
func (s *session) fill(now time.Time) error {
	for s.awake && len(s.out) < maxInFlight {
		b := s.pick(now)
		if b == nil {
			return nil
		}
		switch s.u.trial.judge(b) {
		case leaves:
			if err := s.send(b); err != nil {
				return err
			}
		case isTheEnd:
			s.u.tell("config", s.server.url+" closes the connection over every record of class "+b.Class.String()+
				": nothing is given up; check the broker's access list and its limits")
		case isGuilty:
			s.reject(b, "the broker closes the connection over this record, and takes others before and after")
		}
	}
	return nil
}

// pick takes the next batch: replies and events first, as long as anything may be in flight at all, then within the
// window live readings before the backlog, which has a tenth of the bytes for itself.
func (s *session) pick(now time.Time) *buffer.Batch {
	src := s.u.opts.Source
	if s.u.trial.active {
		return s.pickAlone()
	}
	chunk := s.window.chunk()
	if s.inFlight >= windowCeil {
		return nil
	}
	for _, lane := range [...]buffer.Lane{buffer.Replies, buffer.Events} {
		if b, ok := src.Next(lane, maxRecords, chunk); ok {
			return b
		}
	}
	if !s.window.room(s.inFlight) {
		return nil // stays awake: a PUBACK makes room
	}
	if s.debt >= chunk {
		if b, ok := src.Next(buffer.Backlog, maxRecords, chunk); ok {
			s.debt -= chunk
			return b
		}
		s.debt = 0
	}
	if s.linger = !s.burst && now.Sub(s.liveAt) < s.u.opts.Linger; !s.linger {
		if b, ok := src.Next(buffer.Live, maxRecords, chunk); ok {
			s.burst = true
			s.debt = min(s.debt+b.Bytes/9, chunkCeil)
			return b
		}
		if s.burst {
			s.burst, s.liveAt = false, now
		}
	}
	if b, ok := src.Next(buffer.Backlog, maxRecords, chunk); ok {
		return b
	}
	s.awake = s.linger
	return nil
}

// pickAlone takes one record when nothing is in flight. The backlog comes before live readings, so that whatever is
// newer than the suspects comes after them.
func (s *session) pickAlone() *buffer.Batch {
	if len(s.out) > 0 {
		return nil
	}
	for _, lane := range [...]buffer.Lane{buffer.Replies, buffer.Events, buffer.Backlog, buffer.Live} {
		if b, ok := s.u.opts.Source.Next(lane, 1, chunkFloor); ok {
			return b
		}
	}
	s.awake = false
	return nil
}

// send encodes and publishes. What the dialect has no words for is settled at once; what it cannot encode is put on
// trial, and given up when it stands alone.
func (s *session) send(b *buffer.Batch) error {
	msgs, err := s.u.opts.Dialect.Encode(dialect.Batch{Class: b.Class, Epoch: b.Epoch, Backfill: b.Backfill, Records: b.Records})
	if err != nil {
		if len(b.Records) == 1 {
			s.reject(b, err.Error())
			return nil
		}
		s.u.trial.suspect(b)
		return err
	}
	if len(msgs) == 0 {
		s.u.opts.Source.Ack(b)
		return nil
	}
	for i, m := range msgs {
		var last *buffer.Batch
		if i == len(msgs)-1 {
			last = b
		}
		if err := s.publish(m, last, false); err != nil {
			return err
		}
	}
	return nil
}

// publish hands one message to the MQTT client. It leaves with QoS 1 whatever it says: delivery is known by PUBACK.
func (s *session) publish(m dialect.Message, b *buffer.Batch, birth bool) error {
	token := s.client.Publish(m.Topic, 1, m.Retained, m.Payload)
	s.inFlight += len(m.Payload)
	s.out = append(s.out, flight{
		token: token, batch: b, birth: birth, bytes: len(m.Payload), ahead: s.inFlight, sent: time.Now(),
		full: !s.window.room(s.inFlight),
	})
	s.u.update(func(st *Stats) { st.InFlight = s.inFlight })
	select {
	case <-token.Done():
		if token.Error() != nil {
			if err := s.conn.Err(); err != nil {
				return err
			}
			return errHandOff
		}
	default:
	}
	return nil
}

// finish settles what was acknowledged to the last and gives the rest back to the source.
func (s *session) finish(why error) sessionEnd {
	end := sessionEnd{server: s.server.url, client: s.said.ClientID, cause: why, lasted: time.Since(s.up)}
	_ = s.reap(time.Now()) // a token's error is the connection's, which why tells better
	var head *buffer.Batch
	for _, f := range s.out {
		if f.batch == nil {
			continue
		}
		if head == nil && !s.out[0].birth {
			head = f.batch
		}
		end.repeats += len(f.batch.Records)
	}
	s.u.trial.sessionEnded(head, byPeer(why))
	s.u.opts.Source.Rewind()
	end.acked = s.acked
	return end
}
