package audit

import "testing"

// TestAFileIsOnFlashBeforeTheNext holds that no file is begun while lines of the one before may be missing from flash: a
// power cut would leave a line cut short with a file behind it, which is taken for a log that somebody changed.
func TestAFileIsOnFlashBeforeTheNext(t *testing.T) {
	dir := t.TempDir()
	l, _, broken, err := Open(dir, Options{Size: 1, Now: func() int64 { return 1 }})
	if err != nil || broken != nil {
		t.Fatal(err, broken)
	}
	if _, err := l.Append(Entry{Kind: Told}, false); err != nil {
		t.Fatal(err)
	}
	if err := l.file.Close(); err != nil { // the flash fails: it can't be synced any more
		t.Fatal(err)
	}
	if _, err := l.Append(Entry{Kind: Told}, false); err == nil {
		t.Error("a file that is not on flash is followed by another")
	}
	if names, err := list(dir); err != nil || len(names) != 1 {
		t.Errorf("files: %q, %v", names, err)
	}
}
