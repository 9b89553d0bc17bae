// Package health says what is wrong now, in words and numbers: the status that the command line, the local page and
// the platforms show, and the same figures as Prometheus metrics.
//
// It promises that both come from one snapshot type, so they never disagree on what a thing is called. It measures
// nothing itself: whoever owns a figure counts it, and the daemon fills a Status in. It is the only importer of the
// Prometheus client.
package health

// Status is one screen: all that is known of the daemon at one moment. Times are Unix milliseconds, UTC; durations are
// seconds; counters count from the start of the daemon unless they say otherwise.
type Status struct {
	Gateway   string     `json:"gateway"`
	Site      string     `json:"site,omitempty"`
	Version   string     `json:"version"`
	Now       int64      `json:"now"`
	Since     int64      `json:"since"`
	Problems  []string   `json:"problems"` // what is wrong now, in the installer's words; empty when all is well
	Clock     Clock      `json:"clock"`
	Config    Config     `json:"config"`
	Platforms []Platform `json:"platforms"`
	Buffer    Buffer     `json:"buffer"`
	Flash     Flash      `json:"flash"`
	Lines     []Line     `json:"lines"`
	Devices   []Device   `json:"devices"`
	Process   Process    `json:"process"`
}

// Config names the configuration that runs.
type Config struct {
	Hash  string `json:"hash"`            // SHA-256 over its files
	From  string `json:"from"`            // "installer" or "afar"
	Trial bool   `json:"trial,omitempty"` // it has to prove itself still
}

// Clock is what time the box takes it to be, and whether to believe that.
type Clock struct {
	Synchronised bool   `json:"synchronised"`
	Source       string `json:"source,omitempty"` // who says so
}

// Platform is one destination.
type Platform struct {
	Name       string  `json:"name"`
	Dialect    string  `json:"dialect"`
	Connected  bool    `json:"connected"`
	Server     string  `json:"server,omitempty"`
	Since      int64   `json:"since,omitempty"` // of the connection, or of its absence
	Cut        bool    `json:"cut,omitempty"`   // our own uplink is cut on purpose (a drill)
	LastError  string  `json:"last_error,omitempty"`
	Attempts   uint64  `json:"attempts"`
	Connects   uint64  `json:"connects"`
	Messages   uint64  `json:"messages"`
	Records    uint64  `json:"records"`
	Bytes      uint64  `json:"bytes"` // of payload
	InFlight   int64   `json:"in_flight_bytes"`
	Window     int64   `json:"window_bytes"`
	AckDelay   float64 `json:"ack_delay_s"`
	Backlog    uint64  `json:"backlog"`     // records that wait for this destination, on flash or in memory
	BacklogAge float64 `json:"backlog_age"` // seconds, of the oldest
	Books      []Books `json:"books"`       // one for each class
}

// Books is the account of one class for one destination, in records: Taken = Delivered + Buffered + Lost, always.
type Books struct {
	Class     string            `json:"class"`
	Taken     uint64            `json:"taken"`
	Delivered uint64            `json:"delivered"`
	Buffered  uint64            `json:"buffered"`
	Lost      uint64            `json:"lost"`
	ByCause   map[string]uint64 `json:"lost_by_cause,omitempty"` // in the words of loss events
}

// Balanced says that the books of every destination add up.
func (s *Status) Balanced() bool {
	for _, p := range s.Platforms {
		for _, b := range p.Books {
			if b.Taken != b.Delivered+b.Buffered+b.Lost {
				return false
			}
		}
	}
	return true
}

// Buffer is the store.
type Buffer struct {
	Durable      bool    `json:"durable"` // false while there is no usable store and records live in memory alone
	Trouble      string  `json:"trouble,omitempty"`
	Epoch        uint32  `json:"epoch"`
	HeadRecords  uint64  `json:"head_records"`
	HeadBytes    int64   `json:"head_bytes"`
	BlockRecords uint64  `json:"block_records"` // on flash and still owed to somebody
	DiskBytes    int64   `json:"disk_bytes"`
	Limit        int64   `json:"limit_bytes"`
	FreeBytes    int64   `json:"free_bytes"` // of the file system
	Commits      uint64  `json:"commits"`
	Written      uint64  `json:"written_bytes"` // handed to the store's files
	Taken        uint64  `json:"taken"`
	InflowDay    float64 `json:"inflow_bytes_per_day"` // that it would take on flash if nothing were delivered, at the present rate
	Holds        float64 `json:"holds_s"`              // seconds that an outage may last that begins now, at the present rate; 0 while that is not known
}

// Flash is what the state folder is on.
type Flash struct {
	Device    string  `json:"device,omitempty"`       // "mmcblk0"; "" where the kernel knows none
	Used      float64 `json:"life_used,omitempty"`    // share of its life, in tenths, rounded up; 0 when it does not tell, as SD cards do not
	Reserve   string  `json:"spare_blocks,omitempty"` // "normal", "80 % used", "90 % used"; "" when it does not tell
	Own       int64   `json:"own_bytes"`              // that the daemon caused to be written since its start
	OwnDay    float64 `json:"own_bytes_per_day"`      // the same, of the last day
	DeviceDay float64 `json:"device_bytes_per_day"`   // by the whole box
}

// Line is one physical line.
type Line struct {
	Name      string  `json:"name"`
	Where     string  `json:"where"` // "/dev/ttyS1 9600 8N1", "192.0.2.20:502"
	Up        bool    `json:"up"`
	LastError string  `json:"last_error,omitempty"`
	Occupancy float64 `json:"occupancy"` // share of the last minute in which the line was busy, 0 … 1
	Exchanges uint64  `json:"exchanges"`
	Timeouts  uint64  `json:"timeouts"`
	Garbage   uint64  `json:"garbage"`
	Opens     uint64  `json:"opens"`
	Sent      uint64  `json:"tx_bytes"`
	Received  uint64  `json:"rx_bytes"`
	Framing   uint64  `json:"framing_errors"`
	Parity    uint64  `json:"parity_errors"`
	Overruns  uint64  `json:"overruns"`
	Missed    uint64  `json:"missed"`   // periods of its devices in which no read could start in time
	Forecast  float64 `json:"forecast"` // occupancy that the plan lets expect; 0 on a line without bit times
	Radio     *Radio  `json:"radio,omitempty"`
}

// Radio is what only a line that is a radio has.
type Radio struct {
	Adapter   string `json:"adapter"`           // "hci0"
	Address   string `json:"address,omitempty"` // of the adapter
	Heard     int64  `json:"heard,omitempty"`   // when anybody last was, a stranger or not
	Mode      string `json:"mode"`              // "passive", "active" (devices are asked for more), "idle" (nobody is listened to), "off"
	Trouble   string `json:"trouble,omitempty"`
	Adverts   uint64 `json:"adverts"`   // advertisements heard, of strangers too
	Repeats   uint64 `json:"repeats"`   // messages of our devices that were told before
	Strangers int    `json:"strangers"` // devices on the air that are not ours, now
	Forgotten uint64 `json:"forgotten"` // strangers that were forgotten for want of room
	Dropped   uint64 `json:"dropped"`   // advertisements that came faster than they could be taken
	Odd       uint64 `json:"odd"`       // objects and values of another shape than BlueZ documents
	Truncated uint64 `json:"truncated"` // messages refused: cut short,
	Unknown   uint64 `json:"unknown"`   // with an object that is not known,
	Key       uint64 `json:"key"`       // encrypted with another key, or damaged,
	Replayed  uint64 `json:"replayed"`  // with a number that was there before,
	Plain     uint64 `json:"plain"`     // not encrypted, although the device has a key
	Scans     uint64 `json:"scans"`     // steps of recovery: the scan begun anew,
	Cycles    uint64 `json:"cycles"`    // the adapter switched off and on,
	Restarts  uint64 `json:"restarts"`  // bluetoothd restarted
	Connects  uint64 `json:"connects"`  // connections made
	Failures  uint64 `json:"failures"`  // and not
}

// Air is how a radio sees one device.
type Air struct {
	RSSI      int16    `json:"rssi_dbm,omitempty"` // of its last advertisement
	Heard     int64    `json:"heard,omitempty"`    // when it last was
	Battery   *float64 `json:"battery,omitempty"`  // %, as it told last; nil for not known
	Format    string   `json:"format,omitempty"`   // of its last message
	Adverts   uint64   `json:"adverts"`
	Repeats   uint64   `json:"repeats"`
	Refused   uint64   `json:"refused"`
	Refusal   string   `json:"refusal,omitempty"` // why the last one was
	Connected bool     `json:"connected,omitempty"`
}

// Device is one box on a line.
type Device struct {
	Name     string  `json:"name"`
	Line     string  `json:"line"`
	Address  string  `json:"address"`
	State    string  `json:"state"` // "starting", "good", "partly", "offline", "line down"
	LastGood int64   `json:"last_good,omitempty"`
	Good     int     `json:"good"` // tags with a value
	Bad      int     `json:"bad"`  // tags without
	Polls    uint64  `json:"polls"`
	Failures uint64  `json:"failures"`
	Missed   uint64  `json:"missed"`       // periods in which no read could start in time
	P95      float64 `json:"interval_p95"` // seconds between two good reads of the main group
	Period   float64 `json:"period"`       // seconds, as configured

	Occupancy  float64 `json:"occupancy"`    // share of the last minute in which the line was busy with it, 0 … 1
	Turnaround float64 `json:"turnaround_s"` // average time to an answer, its wire time apart
	Requests   uint64  `json:"requests"`
	Timeouts   uint64  `json:"timeouts"`   // requests to which nothing came
	BadFrames  uint64  `json:"bad_frames"` // requests to which only something came that was no answer: CRC, torn frames
	Exceptions uint64  `json:"exceptions"` // answers that refused
	Late       uint64  `json:"late"`       // answers that came after their request was given up
	Air        *Air    `json:"air,omitempty"`
}

// Process is the daemon itself.
type Process struct {
	Goroutines int   `json:"goroutines"`
	HeapBytes  int64 `json:"heap_bytes"`
	RSSBytes   int64 `json:"rss_bytes"`
	PeakBytes  int64 `json:"rss_peak_bytes"`
}
