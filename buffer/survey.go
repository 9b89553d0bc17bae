package buffer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Survey is what Verify found in a store that nobody uses.
type Survey struct {
	Files   int      `json:"files"`   // looked at
	Bytes   int64    `json:"bytes"`   // in them, without their holes at the end
	Trouble []string `json:"trouble"` // files, or parts of them, that could not be read at all
	Parts   []Part   `json:"parts"`
}

// Part is what a store holds of one class and epoch.
type Part struct {
	Class    string `json:"class"`
	Epoch    uint32 `json:"epoch"`
	From     uint64 `json:"from_seq"` // of the records that can be read, both ends included
	To       uint64 `json:"to_seq"`
	Records  uint64 `json:"records"`   // that can be read and are owed to somebody
	Settled  uint64 `json:"settled"`   // that can be read and are not
	Damaged  uint64 `json:"damaged"`   // that stand in blocks which cannot be read; their class is not known then
	FromLost uint64 `json:"from_lost"` // of those, both ends included; 0 when there are none
	ToLost   uint64 `json:"to_lost"`
}

// Damaged counts the records that are known to be there and cannot be read.
func (s *Survey) Damaged() (n uint64) {
	for _, p := range s.Parts {
		n += p.Damaged
	}
	return n
}

// Records counts the records that can be read and are owed to somebody.
func (s *Survey) Records() (n uint64) {
	for _, p := range s.Parts {
		n += p.Records
	}
	return n
}

// savedFile is what stands in a relic once its records were taken into another store: which.
const savedFile = "saved"

// remember notes in the relic's folder what was taken from it, so that it is not taken again.
func (r *relic) remember() error {
	list := map[string][][2]uint64{}
	for k, spans := range r.taken {
		for _, s := range spans {
			list[fmt.Sprintf("%d/%d", k.class, k.epoch)] = append(list[fmt.Sprintf("%d/%d", k.class, k.epoch)], [2]uint64{s.from, s.to})
		}
	}
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(r.dir, savedFile), text)
}

// recall reads what remember noted. A note that cannot be read costs repeats.
func (r *relic) recall() {
	text, err := os.ReadFile(filepath.Join(r.dir, savedFile))
	var list map[string][][2]uint64
	if errors.Is(err, fs.ErrNotExist) || json.Unmarshal(text, &list) != nil {
		return
	}
	for name, spans := range list {
		var k partKey
		if n, _ := fmt.Sscanf(name, "%d/%d", &k.class, &k.epoch); n != 2 {
			continue
		}
		taken := r.taken[k]
		for _, s := range spans {
			taken.add(s[0], s[1])
		}
		r.taken[k] = taken
	}
}
