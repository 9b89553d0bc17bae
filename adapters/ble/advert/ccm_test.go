package advert

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// TestRFC3610 runs packet vectors of RFC 3610, section 8: key, nonce, how many bytes of the input are authenticated
// and not encrypted, the input, and what is sent.
func TestRFC3610(t *testing.T) {
	const (
		key1 = "C0C1C2C3C4C5C6C7C8C9CACBCCCDCECF"
		key2 = "D7828D13B2B0BDC325A76236DF93CC6B"
	)
	run := func(last byte) string { // 00 01 02 … last
		b := make([]byte, last+1)
		for i := range b {
			b[i] = byte(i)
		}
		return hex.EncodeToString(b)
	}
	for i, v := range []struct {
		key, nonce string
		clear, tag int
		in, out    string
	}{
		{key1, "00000003020100A0A1A2A3A4A5", 8, 8, run(0x1E), "0001020304050607588C979A61C663D2F066D0C2C0F989806D5F6B61DAC38417E8D12CFDF926E0"},
		{key1, "00000004030201A0A1A2A3A4A5", 8, 8, run(0x1F), "000102030405060772C91A36E135F8CF291CA894085C87E3CC15C439C9E43A3BA091D56E10400916"},
		{key1, "00000005040302A0A1A2A3A4A5", 8, 8, run(0x20), "000102030405060751B1E5F44A197D1DA46B0F8E2D282AE871E838BB64DA8596574ADAA76FBD9FB0C5"},
		{key1, "00000006050403A0A1A2A3A4A5", 12, 8, run(0x1E), "000102030405060708090A0BA28C6865939A9A79FAAA5C4C2A9D4A91CDAC8C96C861B9C9E61EF1"},
		{key1, "00000009080706A0A1A2A3A4A5", 8, 10, run(0x1E), "00010203040506070135D1B2C95F41D5D1D4FEC185D166B8094E999DFED96C048C56602C97ACBB7490"},
		{key2, "00412B4EA9CDBE3C9696766CFA", 8, 8, "0BE1A88BACE018B108E8CF97D820EA258460E96AD9CF5289054D895CEAC47C", "0BE1A88BACE018B14CB97F86A2A4689A877947AB8091EF5386A6FFBDD080F8E78CF7CB0CDDD7B3"},
	} {
		unhex := func(s string) []byte {
			b, err := hex.DecodeString(strings.ToLower(s))
			if err != nil {
				t.Fatalf("vector %d: %v", i+1, err)
			}
			return b
		}
		c, err := newCCM(unhex(v.key), v.tag)
		if err != nil {
			t.Fatal(err)
		}
		in, out := unhex(v.in), unhex(v.out)
		plain, ok := c.open(unhex(v.nonce), out[v.clear:], out[:v.clear])
		if !ok || !bytes.Equal(plain, in[v.clear:]) {
			t.Errorf("vector %d: authentic %v, % X", i+1, ok, plain)
		}
		for at := range out { // no byte can be changed
			out[at] ^= 0x80
			if _, ok := c.open(unhex(v.nonce), out[v.clear:], out[:v.clear]); ok {
				t.Errorf("vector %d: byte %d was changed, and it is authentic still", i+1, at)
			}
			out[at] ^= 0x80
		}
	}
	c, err := newCCM(make([]byte, 16), 4)
	if err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]struct{ nonce, sealed []byte }{
		"shorter than its tag": {make([]byte, 13), make([]byte, 3)},
		"short nonce":          {make([]byte, 6), make([]byte, 8)},
		"long nonce":           {make([]byte, 14), make([]byte, 8)},
	} {
		if _, ok := c.open(try.nonce, try.sealed, nil); ok {
			t.Errorf("%s: authentic", name)
		}
	}
	if _, err := newCCM(make([]byte, 5), 4); err == nil {
		t.Error("a key of 5 bytes is taken")
	}
}
