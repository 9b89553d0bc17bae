package update

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"edgegateway/gatewayd/durable"
)

// How a file is fetched over a bad link.
const (
	fetchStall  = 60 * time.Second // without a byte, an attempt is over
	fetchFirst  = 5 * time.Second  // pause after a failed attempt
	fetchMost   = 10 * time.Minute
	syncedEvery = 1 << 20 // bytes that a power cut may cost
)

// Download is a file that comes in parts. It is kept in the agent's job, so that a restart goes on with it.
type Download struct {
	URL    string `json:"url"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	Have   int64  `json:"have"` // bytes that are surely on flash
	Tag    string `json:"tag,omitempty"`
	Done   bool   `json:"done"` // complete, and its digest is right
}

// errFinal marks what another attempt will not mend.
var errFinal = errors.New("final")

func finalf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errFinal, fmt.Sprintf(format, args...))
}

// fetcher gets one file after the other.
type fetcher struct {
	client *http.Client
	spent  *int64 // bytes received so far, of all attempts
	budget int64
	save   func() error // brings the job to flash
	told   func(have, size int64)
}

// fetch makes path complete. It tries until it is, until the budget is spent, or until the context ends; a final error
// is one that says so.
func (f *fetcher) fetch(ctx context.Context, path string, d *Download) error {
	for wait := fetchFirst; ; {
		before := d.Have
		err := f.attempt(ctx, path, d)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errFinal):
			return err
		}
		if d.Have > before {
			wait = fetchFirst
		}
		if !pause(ctx, wait/2+rand.N(wait/2+1)) {
			return ctx.Err()
		}
		wait = min(2*wait, fetchMost)
	}
}

// attempt asks for what is missing, and takes what comes.
func (f *fetcher) attempt(ctx context.Context, path string, d *Download) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stall := time.AfterFunc(fetchStall, cancel)
	defer stall.Stop()

	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return finalf("%v", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if info, err := file.Stat(); err != nil {
		return finalf("%v", err)
	} else if info.Size() < d.Have {
		d.Have = 0 // somebody removed it
	}
	if d.Have < d.Size {
		if err := f.receive(ctx, stall, file, d); err != nil {
			return err
		}
	}
	if err := errors.Join(file.Truncate(d.Size), file.Sync()); err != nil {
		return finalf("%v", err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return finalf("%v", err)
	}
	digest := newDigest()
	if _, err := io.Copy(digest, file); err != nil {
		return finalf("%v", err)
	}
	if !strings.EqualFold(digest.hex(), d.SHA256) {
		d.Have, d.Tag = 0, ""
		return finalf("what %s serves is not what the manifest means: SHA-256 %s", d.URL, digest.hex())
	}
	d.Done = true
	return errors.Join(f.save(), durable.SyncDir(filepath.Dir(path)))
}

// receive reads an answer into the file, from d.Have on.
func (f *fetcher) receive(ctx context.Context, stall *time.Timer, file *os.File, d *Download) error {
	req, err := http.NewRequestWithContext(ctx, "GET", d.URL, nil)
	if err != nil {
		return finalf("%v", err)
	}
	req.Header.Set("Accept-Encoding", "identity") // ranges count the bytes as they are
	if d.Have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.Have))
		if d.Tag != "" {
			req.Header.Set("If-Range", d.Tag)
		}
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusOK:
		d.Have = 0 // a server that knows no ranges, or another file by now
	case resp.StatusCode == http.StatusPartialContent && begins(resp.Header.Get("Content-Range"), d.Have):
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		d.Have, d.Tag = 0, ""
		return fmt.Errorf("%s: the file is another by now", d.URL)
	case resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone || resp.StatusCode == http.StatusForbidden ||
		resp.StatusCode == http.StatusUnauthorized:
		return finalf("%s: %s", d.URL, resp.Status)
	default:
		return fmt.Errorf("%s: %s, %s", d.URL, resp.Status, resp.Header.Get("Content-Range"))
	}
	d.Tag = resp.Header.Get("ETag")
	if strings.HasPrefix(d.Tag, "W/") {
		d.Tag = "" // a weak one does not say that the bytes are the same
	}
	if _, err := file.Seek(d.Have, io.SeekStart); err != nil {
		return finalf("%v", err)
	}
	return f.copy(stall, file, resp.Body, d)
}

// begins says whether a Content-Range starts where we asked.
func begins(header string, at int64) bool {
	from, ok := strings.CutPrefix(header, "bytes ")
	from, _, dash := strings.Cut(from, "-")
	n, err := strconv.ParseInt(from, 10, 64)
	return ok && dash && err == nil && n == at
}

// copy takes bytes until the file is complete. What is on flash is noted now and then, so that neither a power cut nor
// a tail that the file system filled with zeros costs the whole.
func (f *fetcher) copy(stall *time.Timer, file *os.File, body io.Reader, d *Download) error {
	note := func() error {
		at, err := file.Seek(0, io.SeekCurrent)
		if err = errors.Join(err, file.Sync()); err != nil {
			return finalf("%v", err)
		}
		d.Have = at
		return f.save()
	}
	buf := make([]byte, 32<<10)
	at := d.Have
	for at < d.Size {
		stall.Reset(fetchStall)
		n, err := body.Read(buf[:min(int64(len(buf)), d.Size-at)])
		*f.spent += int64(n)
		if n > 0 {
			if _, err := file.Write(buf[:n]); err != nil {
				return finalf("%v", err) // a full disk
			}
			at += int64(n)
		}
		if at-d.Have >= syncedEvery {
			if err := note(); err != nil {
				return err
			}
			f.told(d.Have, d.Size)
		}
		if *f.spent > f.budget {
			return errors.Join(note(), finalf("the update has taken %d bytes from the network, and [update] budget allows %d", *f.spent, f.budget))
		}
		if at < d.Size && err != nil {
			return errors.Join(note(), err)
		}
	}
	if err := note(); err != nil {
		return err
	}
	f.told(d.Have, d.Size)
	return nil
}
