package scenarios

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"edgegateway/gatewayd/health"
	"edgegateway/testbench/consumer"
	"edgegateway/testbench/rig"
	"edgegateway/testbench/sim/modbus"
)

const (
	// deadline is [buffer] commit: for so long a reading may be in memory alone.
	deadline = time.Second
	// leeway is for a seal that is on its way, and for two clocks of one machine that is busy.
	leeway = 500 * time.Millisecond
	// atStop is around a clean stop, and around the field's end: a read whose answer nobody waits for any more, or that was
	// cut off.
	atStop = 200 * time.Millisecond
	// quiet is for how long nothing new may be taken before the field counts as silent.
	quiet = 2 * time.Second
)

// cmdSettle switches the field off and waits until all that was taken has arrived.
func (s *scenario) cmdSettle(ts *testscript.TestScript, args []string) error {
	if !s.running() {
		return errors.New("the daemon is not running")
	}
	s.off = time.Now()
	s.field()
	if s.plant != nil {
		s.plant.Close()
	}
	if s.pair != nil {
		s.pair.Close()
	}
	if s.mixed != nil {
		s.mixed.Close()
	}
	var taken uint64
	since := time.Now()
	_, err := s.daemon.Await(s.ctx, 2*patience, "everything that was taken is delivered, and nothing new comes", func(status *health.Status) bool {
		sum := rig.Sum(status)
		if sum.Taken != taken || sum.Buffered > 0 {
			taken, since = sum.Taken, time.Now()
		}
		return time.Since(since) > quiet
	})
	return err
}

// cmdBooks compares the books of all sides. Without words every read of the witness has come, no number is missing,
// and nothing needs an explanation. skips: the daemon was killed, and what is missing was read at most a deadline
// before. losses: records were given up, each declared.
func (s *scenario) cmdBooks(ts *testscript.TestScript, args []string) error {
	skips, losses := slices.Contains(args, "skips"), slices.Contains(args, "losses")
	for _, a := range args {
		if a != "skips" && a != "losses" {
			return fmt.Errorf("books has no word %q", a)
		}
	}
	if len(s.platforms) == 0 || len(s.runs) == 0 {
		return errors.New("there are no books yet")
	}
	var all []error
	for i, r := range s.runs {
		r.mu.Lock()
		if r.unbalanced != "" {
			all = append(all, fmt.Errorf("run %d: the daemon's books did not balance: %s", i+1, r.unbalanced))
		}
		r.mu.Unlock()
	}
	for _, p := range s.platforms {
		if err := s.delivered(p); err != nil {
			all = append(all, err)
		}
		b := p.recorder.Books()
		ts.Logf("%s: %d records (%d as backfill), %d repeats, %d numbers explained, %d declared lost, in %d messages",
			p.name, b.Unique, b.Backfilled, b.Repeats, b.Explained, b.Declared, b.Messages)
		if err := b.Check(); err != nil {
			all = append(all, fmt.Errorf("%s: %w", p.name, err))
		}
		if b.Declared > 0 != losses {
			all = append(all, fmt.Errorf("%s: %d records were declared lost", p.name, b.Declared))
		}
		if !skips && !losses && b.Explained > 0 {
			all = append(all, fmt.Errorf("%s: %d numbers are missing, with an explanation, and none should", p.name, b.Explained))
		}
		if skips != p.happened(time.Time{}, func(e *consumer.Event) bool { return e.Kind == "skip" }) {
			all = append(all, fmt.Errorf("%s: skip events: expected %t", p.name, skips))
		}
		all = append(all, s.repeats(ts, p, &b))
		if s.witness != nil {
			all = append(all, s.testify(ts, p, b.Declared))
		}
	}
	return errors.Join(all...)
}

// delivered waits until the consumer has what the daemon says it delivered. After a restart the daemon's books begin
// anew, and they can't be compared.
func (s *scenario) delivered(p *platform) error {
	if len(s.runs) != 1 || !s.running() {
		return nil
	}
	var says uint64
	var has int
	_, err := s.daemon.Await(s.ctx, patience, "both sides count the same", func(status *health.Status) bool {
		says = 0
		for _, q := range status.Platforms {
			for _, b := range q.Books {
				if q.Name == p.name {
					says += b.Delivered
				}
			}
		}
		has = p.recorder.Books().Unique
		return uint64(has) == says
	})
	if err != nil {
		return fmt.Errorf("the daemon says that %s has %d records, and it has %d", p.name, says, has)
	}
	return nil
}

// repeats holds what came twice against the windows in flight: one for each connection that was lost.
func (s *scenario) repeats(ts *testscript.TestScript, p *platform, b *consumer.Books) error {
	if b.Repeats == 0 {
		return nil
	}
	may := 0.0
	for _, r := range s.runs {
		r.mu.Lock()
		may += float64(max(1, r.connects)) * (1.5*float64(r.window) + 64<<10) // it may overshoot by a half, and by one message
		r.mu.Unlock()
	}
	size := float64(b.Bytes) / float64(b.Unique+b.Repeats) // of a record, on average
	ts.Logf("%s: %d repeats are %.0f bytes, and %.0f may have been in flight", p.name, b.Repeats, float64(b.Repeats)*size, may)
	if float64(b.Repeats)*size > may {
		return fmt.Errorf("%s: %d repeats are more than was in flight", p.name, b.Repeats)
	}
	return nil
}

// testify compares the witness's reads with what came: each once, in the order in which they were read.
func (s *scenario) testify(ts *testscript.TestScript, p *platform, declared uint64) error {
	reads := s.witness.reads()
	came := make([]int, len(reads))
	var all []error
	last := -1
	for _, r := range inOrder(p.of("witness")) {
		f, ok := r.Float("reads")
		if !ok {
			continue
		}
		n := int(f)
		if n >= len(reads) {
			return fmt.Errorf("%s: read %d came, and the witness was read %d times", p.name, n, len(reads))
		}
		if came[n]++; n <= last {
			all = append(all, fmt.Errorf("%s: read %d has the number %d, above that of read %d", p.name, n, r.Seq, last))
		}
		last = max(last, n)
	}
	missing, unexcused := 0, 0
	var longest time.Duration
	for n, at := range reads {
		if came[n] > 1 {
			all = append(all, fmt.Errorf("%s: read %d came as %d records", p.name, n, came[n]))
		}
		if came[n] > 0 {
			continue
		}
		missing++
		before, excused := s.excuse(at)
		longest = max(longest, before)
		if !excused {
			if unexcused++; uint64(unexcused) > declared && unexcused < 10 {
				all = append(all, fmt.Errorf("%s: read %d, at %s, never came; a stop or kill %s later", p.name, n, at.Format("15:04:05.000"), before))
			}
		}
	}
	if missing > 0 {
		ts.Logf("%s: %d of %d reads of the witness are missing; the longest before a stop or kill was %s",
			p.name, missing, len(reads), longest.Round(time.Millisecond))
	}
	return errors.Join(all...)
}

// excuse tells how long after the moment the daemon ended, or the field, and whether what was read then may be missing.
func (s *scenario) excuse(at time.Time) (time.Duration, bool) {
	if before := s.off.Sub(at); !s.off.IsZero() && before.Abs() <= atStop {
		return max(0, before), true
	}
	for _, r := range s.runs {
		r.mu.Lock()
		ended, killed := r.ended, r.killed
		r.mu.Unlock()
		if ended.IsZero() || at.After(ended.Add(atStop)) {
			continue
		}
		before := max(0, ended.Sub(at))
		if killed {
			return before, before <= deadline+leeway
		}
		return before, before <= atStop
	}
	return 0, false
}

// inOrder sorts records by their numbers.
func inOrder(records []consumer.Record) []consumer.Record {
	slices.SortFunc(records, func(a, b consumer.Record) int {
		if a.Epoch != b.Epoch {
			return int(a.Epoch) - int(b.Epoch)
		}
		return int(a.Seq) - int(b.Seq)
	})
	return records
}

// cmdIntervals: intervals FACTOR PERIOD COUNT DEVICE…: since the last fault, each device had COUNT reads at least, and
// 95 % of the intervals between them were at most FACTOR × PERIOD.
func (s *scenario) cmdIntervals(ts *testscript.TestScript, args []string) error {
	if len(args) < 4 {
		return errors.New("intervals FACTOR PERIOD COUNT DEVICE…")
	}
	factor, err := strconv.ParseFloat(args[0], 64)
	if err != nil {
		return err
	}
	period, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	p, err := s.platform(first)
	if err != nil {
		return err
	}
	for _, device := range args[3:] {
		var at []int64
		for _, r := range inOrder(p.of(device)) {
			if r.Time >= s.mark.UnixMilli() && len(r.Quality) == 0 {
				at = append(at, r.Time)
			}
		}
		if len(at) < count {
			return fmt.Errorf("%s: %d good reads, and there should be %d", device, len(at), count)
		}
		var between []int64
		for i := range at[1:] {
			between = append(between, at[i+1]-at[i])
		}
		slices.Sort(between)
		p95 := between[int(math.Ceil(0.95*float64(len(between))))-1]
		ts.Logf("%s: %d intervals, p50 %d ms, p95 %d ms, at most %d ms", device, len(between), between[len(between)/2], p95, between[len(between)-1])
		if float64(p95) > factor*float64(period.Milliseconds()) {
			return fmt.Errorf("%s: the p95 interval is %d ms with a period of %s", device, p95, period)
		}
	}
	return nil
}

// cmdProofs: proofs NAME…: every value that came of these units was the right unit's, the right register's, and of the
// read that it was taken for.
func (s *scenario) cmdProofs(ts *testscript.TestScript, args []string) error {
	p, err := s.platform(first)
	if err != nil {
		return err
	}
	values, marked, wrong := 0, 0, []error(nil)
	complain := func(r *consumer.Record, format string, args ...any) {
		if len(wrong) < 20 {
			wrong = append(wrong, fmt.Errorf("%s, number %d: %s", r.Device, r.Seq, fmt.Sprintf(format, args...)))
		}
	}
	p.mu.Lock()
	devices := make([]string, 0, len(p.records))
	for d := range p.records {
		devices = append(devices, d)
	}
	p.mu.Unlock()
	for _, device := range devices {
		name, unit, _ := strings.Cut(device, "-")
		id, err := strconv.ParseUint(unit, 10, 8)
		if err != nil || !slices.Contains(args, name) {
			continue
		}
		last := -1
		for _, r := range inOrder(p.of(device)) {
			marked += len(r.Quality)
			for tag := range r.Values {
				f, ok := r.Float(tag)
				values++
				switch {
				case !ok:
					complain(&r, "%s is no number", tag)
				case tag == "count":
					n, own := modbus.CheckProofCount(byte(id), 8, uint32(f))
					if !own {
						complain(&r, "count is %#x, which is not its own", uint32(f))
					}
					if int(n) <= last {
						complain(&r, "count is %d, and it was %d before: an old answer", n, last)
					}
					last = int(n)
				default:
					a, err := strconv.ParseUint(strings.TrimPrefix(tag, "p"), 10, 16)
					if want := modbus.ProofOf(byte(id), uint16(a)); err != nil || float64(want) != f {
						complain(&r, "%s is %v, and should be %d", tag, f, want)
					}
				}
			}
		}
	}
	ts.Logf("%d values are right, %d were marked as missing", values-len(wrong), marked)
	if values == 0 {
		return errors.New("no values came")
	}
	return errors.Join(wrong...)
}

// cmdCame: came DEVICE COUNT: so many records of the device came, no more and no less.
func (s *scenario) cmdCame(ts *testscript.TestScript, args []string) error {
	if len(args) < 2 {
		return errors.New("came DEVICE COUNT")
	}
	p, err := s.named(args, 2)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if got := p.of(args[0]); len(got) != n {
		return fmt.Errorf("%d records of %s came, and %d should", len(got), args[0], n)
	}
	return nil
}

// cmdLive: live PERCENT LIMIT: of what was read since the last fault and has come, so many did not wait on flash, and 95 %
// of these came within LIMIT.
func (s *scenario) cmdLive(ts *testscript.TestScript, args []string) error {
	p, err := s.named(args, 2)
	if err != nil {
		return err
	}
	percent, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	limit, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	all := 0
	var delays []time.Duration
	p.mu.Lock()
	for _, records := range p.records {
		for _, r := range records {
			if r.Time < s.mark.UnixMilli() {
				continue
			}
			if all++; !r.Backfill {
				delays = append(delays, r.Arrived.Sub(time.UnixMilli(r.Time)))
			}
		}
	}
	p.mu.Unlock()
	if len(delays) == 0 || len(delays)*100 < percent*all {
		return fmt.Errorf("%d of %d records came live, and %d %% should", len(delays), all, percent)
	}
	slices.Sort(delays)
	p95 := delays[int(math.Ceil(0.95*float64(len(delays))))-1]
	ts.Logf("%d of %d records came live, p50 %s, p95 %s after they were read", len(delays), all,
		delays[len(delays)/2].Round(time.Millisecond), p95.Round(time.Millisecond))
	if p95 > limit {
		return fmt.Errorf("live records came %s after they were read, and %s are allowed", p95, limit)
	}
	return nil
}
