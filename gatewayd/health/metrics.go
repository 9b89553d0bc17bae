package health

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// family is one line of the table of metrics: its name, what it says, its labels, and where its samples come from.
type family struct {
	name, help string
	labels     []string
	kind       prometheus.ValueType
	sample     func(s *Status, emit func(value float64, labels ...string))
}

// Metrics serves the status as Prometheus text. snapshot is called once for each scrape.
func Metrics(snapshot func() Status) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(&collector{snapshot: snapshot, descs: describe(), table: families()})
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
}

type collector struct {
	snapshot func() Status
	table    []family
	descs    []*prometheus.Desc
}

func describe() []*prometheus.Desc {
	var out []*prometheus.Desc
	for _, f := range families() {
		out = append(out, prometheus.NewDesc("gatewayd_"+f.name, f.help, f.labels, nil))
	}
	return out
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.snapshot()
	for i, f := range c.table {
		f.sample(&s, func(v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(c.descs[i], f.kind, v, labels...)
		})
	}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// of makes a family without labels.
func of(name, help string, kind prometheus.ValueType, value func(*Status) float64) family {
	return family{name, help, nil, kind, func(s *Status, emit func(float64, ...string)) { emit(value(s)) }}
}

func ofPlatforms(name, help string, kind prometheus.ValueType, value func(*Platform) float64) family {
	return family{name, help, []string{"platform"}, kind, func(s *Status, emit func(float64, ...string)) {
		for i := range s.Platforms {
			emit(value(&s.Platforms[i]), s.Platforms[i].Name)
		}
	}}
}

func ofBooks(name, help string, kind prometheus.ValueType, value func(*Books) float64) family {
	return family{name, help, []string{"platform", "class"}, kind, func(s *Status, emit func(float64, ...string)) {
		for i := range s.Platforms {
			for j := range s.Platforms[i].Books {
				b := &s.Platforms[i].Books[j]
				emit(value(b), s.Platforms[i].Name, b.Class)
			}
		}
	}}
}

func ofLines(name, help string, kind prometheus.ValueType, value func(*Line) float64) family {
	return family{name, help, []string{"line"}, kind, func(s *Status, emit func(float64, ...string)) {
		for i := range s.Lines {
			emit(value(&s.Lines[i]), s.Lines[i].Name)
		}
	}}
}

func ofDevices(name, help string, kind prometheus.ValueType, value func(*Device) float64) family {
	return family{name, help, []string{"line", "device"}, kind, func(s *Status, emit func(float64, ...string)) {
		for i := range s.Devices {
			emit(value(&s.Devices[i]), s.Devices[i].Line, s.Devices[i].Name)
		}
	}}
}

// ofRadios makes a family of the lines that are radios.
func ofRadios(name, help string, kind prometheus.ValueType, value func(*Radio) float64) family {
	return family{name, help, []string{"line"}, kind, func(s *Status, emit func(float64, ...string)) {
		for _, l := range s.Lines {
			if l.Radio != nil {
				emit(value(l.Radio), l.Name)
			}
		}
	}}
}

// ofAir makes a family of the devices on a radio.
func ofAir(name, help string, kind prometheus.ValueType, value func(*Air) float64) family {
	return family{name, help, []string{"line", "device"}, kind, func(s *Status, emit func(float64, ...string)) {
		for _, d := range s.Devices {
			if d.Air != nil {
				emit(value(d.Air), d.Line, d.Name)
			}
		}
	}}
}

// families is the table of all metrics. Durations are seconds, sizes bytes, counters since the daemon's start.
func families() []family {
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	return []family{
		{"build_info", "1, with the version in a label.", []string{"version"}, gauge, func(s *Status, emit func(float64, ...string)) {
			emit(1, s.Version)
		}},
		of("start_time_seconds", "When the daemon began, Unix time.", gauge, func(s *Status) float64 { return float64(s.Since) / 1000 }),
		of("problems", "How many things are wrong now.", gauge, func(s *Status) float64 { return float64(len(s.Problems)) }),
		of("clock_synchronised", "1 when the clock can be believed.", gauge, func(s *Status) float64 { return flag(s.Clock.Synchronised) }),
		of("goroutines", "Goroutines of the daemon.", gauge, func(s *Status) float64 { return float64(s.Process.Goroutines) }),
		of("heap_bytes", "Heap in use.", gauge, func(s *Status) float64 { return float64(s.Process.HeapBytes) }),
		of("resident_memory_bytes", "Resident set of the process.", gauge, func(s *Status) float64 { return float64(s.Process.RSSBytes) }),

		of("buffer_durable", "1 when the store is usable; 0 while records live in memory alone.", gauge, func(s *Status) float64 { return flag(s.Buffer.Durable) }),
		of("buffer_epoch", "Epoch of the store.", gauge, func(s *Status) float64 { return float64(s.Buffer.Epoch) }),
		of("buffer_head_records", "Records in memory.", gauge, func(s *Status) float64 { return float64(s.Buffer.HeadRecords) }),
		of("buffer_head_bytes", "Memory that those records take.", gauge, func(s *Status) float64 { return float64(s.Buffer.HeadBytes) }),
		of("buffer_block_records", "Records on flash that are still owed.", gauge, func(s *Status) float64 { return float64(s.Buffer.BlockRecords) }),
		of("buffer_disk_bytes", "Flash that the store takes.", gauge, func(s *Status) float64 { return float64(s.Buffer.DiskBytes) }),
		of("buffer_limit_bytes", "Flash that the store may take.", gauge, func(s *Status) float64 { return float64(s.Buffer.Limit) }),
		of("buffer_commits_total", "Synced transactions.", counter, func(s *Status) float64 { return float64(s.Buffer.Commits) }),
		of("buffer_inflow_bytes_per_day", "Bytes a day that the store would take on flash if nothing were delivered, at the present rate.", gauge, func(s *Status) float64 { return s.Buffer.InflowDay }),
		of("buffer_holds_seconds", "How long an outage that begins now would be held, at the present rate; 0 while unknown.", gauge, func(s *Status) float64 { return s.Buffer.Holds }),
		of("flash_own_written_bytes_total", "Bytes that the daemon caused to be written to storage.", counter, func(s *Status) float64 { return float64(s.Flash.Own) }),
		of("flash_own_written_bytes_per_day", "The same, of the last day.", gauge, func(s *Status) float64 { return s.Flash.OwnDay }),
		of("flash_device_written_bytes_per_day", "Bytes that the whole box writes to the device, a day.", gauge, func(s *Status) float64 { return s.Flash.DeviceDay }),
		of("flash_life_used_ratio", "Share of the flash's life that is used up, as it says itself; 0 where it does not.", gauge, func(s *Status) float64 { return s.Flash.Used }),
		of("buffer_written_bytes_total", "Bytes handed to the store's files.", counter, func(s *Status) float64 { return float64(s.Buffer.Written) }),

		ofPlatforms("platform_connected", "1 while the session is up.", gauge, func(p *Platform) float64 { return flag(p.Connected) }),
		ofPlatforms("platform_connects_total", "Sessions begun.", counter, func(p *Platform) float64 { return float64(p.Connects) }),
		ofPlatforms("platform_attempts_total", "Connection attempts.", counter, func(p *Platform) float64 { return float64(p.Attempts) }),
		ofPlatforms("platform_messages_total", "Messages published.", counter, func(p *Platform) float64 { return float64(p.Messages) }),
		ofPlatforms("platform_payload_bytes_total", "Payload bytes published.", counter, func(p *Platform) float64 { return float64(p.Bytes) }),
		ofPlatforms("platform_in_flight_bytes", "Payload bytes sent and not yet acknowledged.", gauge, func(p *Platform) float64 { return float64(p.InFlight) }),
		ofPlatforms("platform_ack_delay_seconds", "Smoothed time from publish to PUBACK.", gauge, func(p *Platform) float64 { return p.AckDelay }),
		ofPlatforms("backlog_records", "Records that wait for this platform.", gauge, func(p *Platform) float64 { return float64(p.Backlog) }),
		ofPlatforms("backlog_age_seconds", "Age of the oldest of them.", gauge, func(p *Platform) float64 { return p.BacklogAge }),
		ofBooks("records_taken", "Records taken into the buffer for this platform.", gauge, func(b *Books) float64 { return float64(b.Taken) }),
		ofBooks("records_delivered", "Records that the platform acknowledged.", gauge, func(b *Books) float64 { return float64(b.Delivered) }),
		ofBooks("records_buffered", "Records that wait.", gauge, func(b *Books) float64 { return float64(b.Buffered) }),
		{"records_lost_by_cause", "Records declared lost, by the word of the loss event.", []string{"platform", "class", "cause"}, gauge, func(s *Status, emit func(float64, ...string)) {
			for _, p := range s.Platforms {
				for _, b := range p.Books {
					for cause, n := range b.ByCause {
						emit(float64(n), p.Name, b.Class, cause)
					}
				}
			}
		}},
		ofBooks("records_lost", "Records declared lost.", gauge, func(b *Books) float64 { return float64(b.Lost) }),

		ofLines("line_up", "1 while the line is open.", gauge, func(l *Line) float64 { return flag(l.Up) }),
		ofLines("line_occupancy_ratio", "Share of the last minute in which the line was busy.", gauge, func(l *Line) float64 { return l.Occupancy }),
		ofLines("line_exchanges_total", "Requests sent.", counter, func(l *Line) float64 { return float64(l.Exchanges) }),
		ofLines("line_timeouts_total", "Requests without an answer.", counter, func(l *Line) float64 { return float64(l.Timeouts) }),
		ofLines("line_garbage_total", "Requests answered by bytes that were no answer.", counter, func(l *Line) float64 { return float64(l.Garbage) }),
		ofLines("line_opens_total", "Times the line was opened.", counter, func(l *Line) float64 { return float64(l.Opens) }),
		ofLines("line_transmit_bytes_total", "Bytes sent.", counter, func(l *Line) float64 { return float64(l.Sent) }),
		ofLines("line_receive_bytes_total", "Bytes received.", counter, func(l *Line) float64 { return float64(l.Received) }),
		ofLines("line_framing_errors_total", "Framing errors that the UART counted.", counter, func(l *Line) float64 { return float64(l.Framing) }),
		ofLines("line_parity_errors_total", "Parity errors that the UART counted.", counter, func(l *Line) float64 { return float64(l.Parity) }),

		ofLines("line_overruns_total", "Bytes that the UART lost because the box was too busy.", counter, func(l *Line) float64 { return float64(l.Overruns) }),
		ofLines("line_missed_total", "Periods of the line's devices in which no read could start in time.", counter, func(l *Line) float64 { return float64(l.Missed) }),
		ofLines("line_forecast_ratio", "Occupancy that the plan lets expect.", gauge, func(l *Line) float64 { return l.Forecast }),

		{"radio_mode_info", "1, with how the radio listens in a label: passive, active, idle, off.", []string{"line", "mode"}, gauge, func(s *Status, emit func(float64, ...string)) {
			for _, l := range s.Lines {
				if l.Radio != nil {
					emit(1, l.Name, l.Radio.Mode)
				}
			}
		}},
		ofRadios("radio_adverts_total", "Advertisements heard.", counter, func(r *Radio) float64 { return float64(r.Adverts) }),
		ofRadios("radio_repeats_total", "Messages that were told before.", counter, func(r *Radio) float64 { return float64(r.Repeats) }),
		ofRadios("radio_strangers", "Devices on the air that are not configured.", gauge, func(r *Radio) float64 { return float64(r.Strangers) }),
		ofRadios("radio_dropped_total", "Advertisements that came faster than they could be taken.", counter, func(r *Radio) float64 { return float64(r.Dropped) }),
		ofRadios("radio_odd_total", "Objects of another shape than BlueZ documents.", counter, func(r *Radio) float64 { return float64(r.Odd) }),
		{"radio_refused_total", "Messages refused, by cause.", []string{"line", "cause"}, counter, func(s *Status, emit func(float64, ...string)) {
			for _, l := range s.Lines {
				if r := l.Radio; r != nil {
					emit(float64(r.Truncated), l.Name, "truncated")
					emit(float64(r.Unknown), l.Name, "unknown")
					emit(float64(r.Key), l.Name, "key")
					emit(float64(r.Replayed), l.Name, "replayed")
					emit(float64(r.Plain), l.Name, "plain")
				}
			}
		}},
		{"radio_recoveries_total", "Steps taken to wake a silent radio.", []string{"line", "step"}, counter, func(s *Status, emit func(float64, ...string)) {
			for _, l := range s.Lines {
				if r := l.Radio; r != nil {
					emit(float64(r.Scans), l.Name, "scan")
					emit(float64(r.Cycles), l.Name, "adapter")
					emit(float64(r.Restarts), l.Name, "service")
				}
			}
		}},
		ofRadios("radio_connects_total", "Connections made.", counter, func(r *Radio) float64 { return float64(r.Connects) }),
		ofRadios("radio_connect_failures_total", "Connections that could not be made.", counter, func(r *Radio) float64 { return float64(r.Failures) }),
		ofAir("device_rssi_dbm", "Signal of the last advertisement; 0 for not known.", gauge, func(a *Air) float64 { return float64(a.RSSI) }),
		ofAir("device_adverts_total", "Advertisements of the device.", counter, func(a *Air) float64 { return float64(a.Adverts) }),
		ofAir("device_adverts_refused_total", "Advertisements of the device that were refused.", counter, func(a *Air) float64 { return float64(a.Refused) }),

		ofDevices("device_tags_good", "Tags that have a value.", gauge, func(d *Device) float64 { return float64(d.Good) }),
		ofDevices("device_tags_bad", "Tags that have none.", gauge, func(d *Device) float64 { return float64(d.Bad) }),
		ofDevices("device_polls_total", "Reads begun.", counter, func(d *Device) float64 { return float64(d.Polls) }),
		ofDevices("device_failures_total", "Reads that yielded nothing.", counter, func(d *Device) float64 { return float64(d.Failures) }),
		ofDevices("device_missed_total", "Periods in which no read could start in time.", counter, func(d *Device) float64 { return float64(d.Missed) }),
		ofDevices("device_interval_p95_seconds", "95th percentile of the time between two good reads.", gauge, func(d *Device) float64 { return d.P95 }),
		ofDevices("device_occupancy_ratio", "Share of the last minute in which the line was busy with the device.", gauge, func(d *Device) float64 { return d.Occupancy }),
		ofDevices("device_turnaround_seconds", "Average time to an answer, its wire time apart.", gauge, func(d *Device) float64 { return d.Turnaround }),
		ofDevices("device_requests_total", "Requests sent.", counter, func(d *Device) float64 { return float64(d.Requests) }),
		ofDevices("device_timeouts_total", "Requests to which nothing came.", counter, func(d *Device) float64 { return float64(d.Timeouts) }),
		ofDevices("device_bad_frames_total", "Requests to which only something came that was no answer: wrong checksums, torn frames.", counter, func(d *Device) float64 { return float64(d.BadFrames) }),
		ofDevices("device_exceptions_total", "Answers that refused.", counter, func(d *Device) float64 { return float64(d.Exceptions) }),
		ofDevices("device_late_total", "Answers that came after their request was given up.", counter, func(d *Device) float64 { return float64(d.Late) }),
	}
}
