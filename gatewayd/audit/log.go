package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"edgegateway/gatewayd/durable"
)

// ErrFull says that the log has reached its limit, and that its oldest file still holds commands that are not expired.
var ErrFull = errors.New("the audit log is full of commands that have not expired yet")

// Options bound a log. The zero value of each has a default.
type Options struct {
	Size  int          // bytes after which a new file is begun; default 1 MiB
	Files int          // how many are kept; default 8
	Now   func() int64 // Unix milliseconds
	// Live says whether a command that expires then could still be sent again; default: when that is after Now. A clock
	// that cannot be believed must not have a file leave.
	Live func(expires int64) bool
}

// Log is the log of one gateway, open for appending. It is safe for concurrent use.
type Log struct {
	dir string
	o   Options

	mu    sync.Mutex
	file  *os.File
	size  int
	head  Entry  // the last one
	files []part // the oldest first; the last is file
	fault error  // after which nothing may be appended: what the file ends with is not known
}

// part is one file.
type part struct {
	name    string
	expires int64 // the latest of its commands
}

const (
	prefix      = "audit-"
	suffix      = ".log"
	asidePrefix = "broken-"
)

// Open opens the log in a folder, or begins one, and gives all entries that stand in it, the oldest first. A last line
// that a crash cut short is taken away. A log that does not verify is set aside, never deleted, and a new one begun, with an
// entry Anew; broken then says why.
func Open(dir string, o Options) (l *Log, entries []Entry, broken, err error) {
	if o.Size == 0 {
		o.Size = 1 << 20
	}
	if o.Files == 0 {
		o.Files = 8
	}
	if o.Live == nil {
		o.Live = func(expires int64) bool { return expires > o.Now() }
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, nil, err
	}
	l = &Log{dir: dir, o: o}
	entries, err = l.load()
	var bad *breach
	if errors.As(err, &bad) {
		broken = err
		if err := setAside(dir); err != nil {
			return nil, nil, nil, fmt.Errorf("%w, and it cannot be set aside: %w", broken, err)
		}
		l = &Log{dir: dir, o: o}
		entries, err = l.load()
	}
	if err != nil {
		return nil, nil, nil, err
	}
	if aside, _ := filepath.Glob(filepath.Join(dir, asidePrefix+"*")); len(entries) == 0 && len(aside) > 0 {
		text := "what was before is set aside"
		if broken != nil {
			text += ": " + broken.Error()
		}
		e, err := l.Append(Entry{Kind: Anew, Text: text}, true)
		if err != nil {
			l.file.Close()
			return nil, nil, nil, err
		}
		entries = append(entries, e)
	}
	return l, entries, broken, nil
}

// Unusable is a log that takes nothing, because of the error with which Open failed.
func Unusable(why error) *Log {
	return &Log{fault: fmt.Errorf("the audit log cannot be used until the daemon starts again: %w", why)}
}

// breach is a fault of the log's contents.
type breach struct {
	file string
	line int
	text string
}

func (b *breach) Error() string {
	return fmt.Sprintf("%s, line %d: %s", filepath.Base(b.file), b.line, b.text)
}

// setAside moves the files of a broken log into a folder beside them.
func setAside(dir string) error {
	names, err := list(dir)
	if err != nil {
		return err
	}
	to := ""
	for n := 1; ; n++ {
		to = filepath.Join(dir, asidePrefix+strconv.Itoa(n))
		if err := os.Mkdir(to, 0o700); err == nil {
			break
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for _, name := range names {
		if err := os.Rename(name, filepath.Join(to, filepath.Base(name))); err != nil {
			return err
		}
	}
	return durable.SyncDir(dir)
}

// list gives the log's files, the oldest first.
func list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasPrefix(e.Name(), prefix) && strings.HasSuffix(e.Name(), suffix) {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(names) // numbers have ten digits
	return names, nil
}

// load reads all files and opens the last for appending.
func (l *Log) load() ([]Entry, error) {
	names, err := list(l.dir)
	if err != nil {
		return nil, err
	}
	var all []Entry
	for i, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		entries, whole, err := read(name, text, l.head, len(all) == 0)
		if err != nil {
			return nil, err
		}
		if whole < len(text) {
			if i < len(names)-1 {
				return nil, &breach{name, len(entries) + 1, "the line is cut short, and other files follow"}
			}
			if err := os.Truncate(name, int64(whole)); err != nil {
				return nil, err
			}
		}
		p := part{name: name}
		for _, e := range entries {
			p.expires = max(p.expires, e.Expires)
		}
		l.files, l.size = append(l.files, p), whole
		if len(entries) > 0 {
			l.head = entries[len(entries)-1]
		}
		all = append(all, entries...)
	}
	if len(l.files) == 0 {
		return nil, l.begin()
	}
	l.file, err = os.OpenFile(l.files[len(l.files)-1].name, os.O_WRONLY|os.O_APPEND, 0)
	return all, err
}

// read checks one file's lines against the entry before them; first says that there is none to check against. whole is
// how far the complete lines reach.
func read(name string, text []byte, head Entry, first bool) (entries []Entry, whole int, err error) {
	for len(text) > whole {
		end := bytes.IndexByte(text[whole:], '\n')
		if end < 0 {
			break
		}
		e, err := parse(text[whole : whole+end])
		if err != nil {
			// Blocks of a file that a power cut hit may be zeros: only a last line can be that.
			if whole+end+1 == len(text) && bytes.IndexByte(text[whole:], 0) >= 0 {
				break
			}
			return nil, 0, &breach{name, len(entries) + 1, err.Error()}
		}
		if first && len(entries) == 0 {
			head = Entry{N: e.N - 1, Hash: e.Prev}
		}
		if e.N != head.N+1 || e.Prev != head.Hash {
			return nil, 0, &breach{name, len(entries) + 1, fmt.Sprintf("entry %d does not follow entry %d: lines are missing, or were put in", e.N, head.N)}
		}
		head = e
		entries, whole = append(entries, e), whole+end+1
	}
	return entries, whole, nil
}

// begin starts a new file behind the head. The one before is on flash by then: a line that a power cut took must not
// have a file behind it.
func (l *Log) begin() error {
	if l.file != nil {
		if err := l.file.Sync(); err != nil {
			return err
		}
	}
	name := filepath.Join(l.dir, fmt.Sprintf("%s%010d%s", prefix, l.head.N+1, suffix))
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := durable.SyncDir(l.dir); err != nil {
		f.Close()
		return err
	}
	if l.file != nil {
		l.file.Close()
	}
	l.file, l.size, l.files = f, 0, append(l.files, part{name: name})
	return nil
}

// Append adds an entry, and gives it back with its number and hash. With sync it is on flash then; without, it follows
// with the next that is. ErrFull when the log has no room; other errors are the disk's. After one, the entry is not in
// the log.
func (l *Log) Append(e Entry, sync bool) (Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault != nil {
		return e, l.fault
	}
	if l.size >= l.o.Size {
		if err := l.rotate(); err != nil {
			return e, err
		}
	}
	e.N, e.T, e.Prev = l.head.N+1, l.o.Now(), l.head.Hash
	line, err := e.line()
	if err != nil {
		return e, err
	}
	if _, err = l.file.Write(line); err == nil && sync {
		err = l.file.Sync()
	}
	if err != nil {
		if cut := l.file.Truncate(int64(l.size)); cut != nil {
			l.fault = fmt.Errorf("the audit log cannot be written: %w, nor mended: %w", err, cut)
		}
		return e, fmt.Errorf("the audit log cannot be written: %w", err)
	}
	l.size += len(line)
	l.head = e
	last := &l.files[len(l.files)-1]
	last.expires = max(last.expires, e.Expires)
	return e, nil
}

// rotate begins a new file, and removes those that are too many.
func (l *Log) rotate() error {
	for len(l.files) >= l.o.Files {
		if l.o.Live(l.files[0].expires) {
			return ErrFull
		}
		if err := os.Remove(l.files[0].name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		l.files = l.files[1:]
	}
	return l.begin()
}

// Head is the number and the hash of the last entry; 0 and "" of an empty log.
func (l *Log) Head() (n uint64, hash string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head.N, l.head.Hash
}

// Close syncs and closes the log.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = fs.ErrClosed
	if l.file == nil {
		return nil
	}
	return errors.Join(l.file.Sync(), l.file.Close())
}

// Summary is what Verify found.
type Summary struct {
	Entries int    `json:"entries"`
	First   uint64 `json:"first"` // numbers; those before were rotated away
	Last    uint64 `json:"last"`
	Hash    string `json:"hash"` // of the last
	Torn    bool   `json:"torn"` // a crash cut a last line short; the daemon takes it away when it starts
}

// Verify reads a log without changing it. The error says where the chain is broken. With known, the number of an entry
// and its hash as an event told it, the log must also hold that one.
func Verify(dir string, known uint64, hash string) (Summary, error) {
	var s Summary
	names, err := list(dir)
	if err != nil {
		return s, err
	}
	var head Entry
	found := known == 0
	for i, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return s, err
		}
		entries, whole, err := read(name, text, head, s.Entries == 0)
		if err != nil {
			return s, err
		}
		if whole < len(text) {
			if i < len(names)-1 {
				return s, &breach{name, len(entries) + 1, "the line is cut short, and other files follow"}
			}
			s.Torn = true
		}
		for _, e := range entries {
			if s.Entries == 0 {
				s.First = e.N
			}
			s.Entries++
			if e.N == known {
				if found = strings.HasPrefix(e.Hash, hash); !found {
					return s, fmt.Errorf("entry %d has the hash %s, not %s: the log was written anew", known, e.Hash, hash)
				}
			}
			head = e
		}
	}
	s.Last, s.Hash = head.N, head.Hash
	if !found {
		if known < s.First {
			return s, fmt.Errorf("entry %d was rotated away; the log begins with %d", known, s.First)
		}
		return s, fmt.Errorf("entry %d is not there; the log ends with %d: its end was cut off", known, s.Last)
	}
	return s, nil
}

// Each gives every line of a log, the oldest first.
func Each(dir string, do func(line []byte) error) error {
	names, err := list(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for line := range bytes.Lines(text) {
			if err := do(bytes.TrimSuffix(line, []byte("\n"))); err != nil {
				return err
			}
		}
	}
	return nil
}
