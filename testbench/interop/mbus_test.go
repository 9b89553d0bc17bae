package interop

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/mbus"
	sim "edgegateway/testbench/sim/mbus"
)

var download = flag.Bool("download", false, "fetch peers that no Debian package has: libmbus, by npm")

// nodeMBus is the npm package that holds the sources of libmbus.
const nodeMBus = "node-mbus@2.2.6"

// libmbus compiles a program that prints what libmbus makes of telegrams.
func libmbus(t *testing.T) string {
	t.Helper()
	if !*download {
		t.Skip("run with -download: libmbus is fetched by npm (Debian: apt install npm gcc libc6-dev)")
	}
	npm, err := exec.LookPath("npm")
	cc, err2 := exec.LookPath("cc")
	if err := errors.Join(err, err2); err != nil {
		t.Skipf("npm or a C compiler is missing (Debian: apt install npm gcc libc6-dev): %v", err)
	}
	dir := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
	}
	run(npm, "pack", "--silent", nodeMBus)
	run("tar", "xzf", "node-mbus-2.2.6.tgz")
	source, err := filepath.Abs(filepath.Join("testdata", "mbusxml.c"))
	if err != nil {
		t.Fatal(err)
	}
	lib := filepath.Join(dir, "package", "libmbus")
	if err := os.WriteFile(filepath.Join(lib, "config.h"), []byte("#define VERSION \"peer\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob(filepath.Join(lib, "mbus", "*.c"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("%s holds no libmbus: %v", nodeMBus, err)
	}
	program := filepath.Join(dir, "mbusxml")
	run(cc, append([]string{"-w", "-O1", "-I" + lib, "-I" + filepath.Join(lib, "mbus"), "-o", program, source}, append(sources, "-lm")...)...)
	return program
}

// theirs is a telegram as libmbus prints it.
type theirs struct {
	Slave struct {
		ID           string `xml:"Id"`
		Manufacturer string
	} `xml:"SlaveInformation"`
	Records []struct {
		Function      string
		StorageNumber uint64
		Tariff        uint64
		Unit          string
		Quantity      string
		Value         string
	} `xml:"DataRecord"`
}

// TestLibmbusReadsWhatWeRead: libmbus and the driver make the same numbers of some hundred random records of every
// quantity and every kind of number, which the simulator sends.
func TestLibmbusReadsWhatWeRead(t *testing.T) {
	program := libmbus(t)
	rng := rand.New(rand.NewPCG(1, 2))
	var frames [][]byte
	for range 120 {
		frames = append(frames, randomTelegram(rng))
	}
	var input bytes.Buffer
	for _, f := range frames {
		fmt.Fprintf(&input, "% X\n", f)
	}
	cmd := exec.Command(program)
	cmd.Stdin = &input
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	docs := strings.Split(string(out), "<?xml")[1:]
	if len(docs) != len(frames) {
		t.Fatalf("libmbus read %d of %d telegrams\n%s", len(docs), len(frames), out)
	}
	compared := 0
	for i, f := range frames {
		var want theirs
		text := docs[i][strings.Index(docs[i], "?>")+2:] // its declaration says Latin-1, and it is UTF-8
		if err := xml.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("% X: %v\n%s", f, err, text)
		}
		compared += compare(t, f, &want)
	}
	t.Logf("%d values compared", compared)
	if compared < 600 {
		t.Errorf("only %d values were compared", compared)
	}
}

// units are libmbus's words for units, and ours.
var units = map[string]string{"Wh": "Wh", "J": "J", "m^3": "m3", "kg": "kg", "s": "s", "W": "W", "J/h": "J/h", "m^3/h": "m3/h", "kg/h": "kg/h",
	"°C": "°C", "K": "K", "bar": "bar", "V": "V", "A": "A"}

// compare reads a telegram with the driver, and holds each record's value against libmbus's.
func compare(t *testing.T, frame []byte, want *theirs) (compared int) {
	t.Helper()
	tags := []field.Tag{{Name: "id", At: "id"}, {Name: "maker", At: "maker"}}
	for i := range want.Records {
		tags = append(tags, field.Tag{Name: fmt.Sprint("r", i), At: fmt.Sprint("record ", i), Unit: units[want.Records[i].Unit]})
	}
	s, err := mbus.New(link.Replay(func([]byte) ([]byte, error) { return frame, nil })).Bind(field.Device{
		Address: "7", Quirks: map[string]string{"reset": "false"}, Tags: tags})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Read(t.Context(), field.MainGroup)
	if err != nil {
		t.Errorf("% X: %v", frame, err)
		return 0
	}
	if n, _ := strconv.Atoi(r.Values[0].AsText()); fmt.Sprint(n) != want.Slave.ID || r.Values[1].AsText() != want.Slave.Manufacturer {
		t.Errorf("% X: %v, libmbus says %s %s", frame, r.Values[:2], want.Slave.ID, want.Slave.Manufacturer)
	}
	for i, theirs := range want.Records {
		number, err := strconv.ParseFloat(theirs.Value, 64)
		got, ok := r.Values[2+i].Float()
		if err != nil || units[theirs.Unit] == "" {
			continue
		}
		// It prints six digits behind the point, and floats with more digits than they have.
		if !ok || math.Abs(got-number) > 1e-6+2e-7*math.Abs(number) {
			t.Errorf("% X: record %d is %v, libmbus says %s %s (%s)", frame, i, r.Values[2+i], theirs.Value, theirs.Unit, theirs.Quantity)
		}
		compared++
	}
	return compared
}

// randomTelegram is what a meter with eight random records sends.
func randomTelegram(rng *rand.Rand) []byte {
	var records []string
	for range 8 {
		records = append(records, randomRecord(rng))
	}
	bus := sim.New(0)
	bus.Add(7, fmt.Sprintf("%08d", 1+rng.IntN(99999998)), "ABC", 1, 7).Records(strings.Join(records, " "))
	_, out := bus.Take([]byte{0x10, 0x7B, 7, 0x82, 0x16}, true)
	return out[0].Bytes
}

func randomRecord(rng *rand.Rand) string {
	vifs := []string{}
	for v := range 0x6C {
		if v < 0x20 || v >= 0x28 {
			vifs = append(vifs, fmt.Sprintf("%02X", v))
		}
	}
	for v := 0x43; v <= 0x4F; v++ {
		vifs = append(vifs, fmt.Sprintf("FD %02X", v))
	}
	for v := 0x56; v <= 0x5F; v++ {
		vifs = append(vifs, fmt.Sprintf("FD %02X", v))
	}
	vif := vifs[rng.IntN(len(vifs))]
	n := rng.IntN(30000)
	storage := []string{"", "", "40"}[rng.IntN(3)]
	dif := byte(0)
	if storage != "" {
		dif = 0x40
	}
	data := []byte{}
	switch rng.IntN(6) {
	case 0:
		dif |= 2
		data = binary.LittleEndian.AppendUint16(data, uint16(int16(n)*int16(1-2*rng.IntN(2))))
	case 1:
		dif |= 4
		data = binary.LittleEndian.AppendUint32(data, uint32(n*1000))
	case 2:
		dif |= 3
		data = binary.LittleEndian.AppendUint32(data, uint32(n*100))[:3]
	case 3:
		dif |= 5
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(n)/8))
	case 4:
		dif |= 0x0C
		for range 4 {
			data = append(data, byte(n/10%10<<4|n%10))
			n /= 100
		}
	default:
		dif |= 0x0A
		n %= 10000
		for range 2 {
			data = append(data, byte(n/10%10<<4|n%10))
			n /= 100
		}
	}
	return fmt.Sprintf("%02X %s % X", dif, vif, data)
}
