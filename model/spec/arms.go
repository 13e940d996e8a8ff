package spec

import "slices"

// Arms of the utility protocol: what a classifier is trained on.
const (
	ArmReal        = "real"        // real images alone
	ArmOversampled = "oversampled" // the judged class's real images twice
	ArmClassic     = "classic"     // real images, mirrored and turned by chance
	ArmGenerated   = "generated"   // as many generated as real images of the judged class beside the real ones
	ArmBoth        = "both"        // ArmGenerated, mirrored and turned by chance
)

// Arm describes an arm of the utility protocol.
type Arm struct {
	Name string
	// Title is the arm in a few words, as the heading of a row.
	Title string
	// Trained says in full what its classifiers were trained on.
	Trained string
	// Adds says what the arm has beside real images; empty for those without
	// generated ones.
	Adds string
}

var arms = []Arm{
	{Name: ArmReal, Title: "real images alone", Trained: "real images"},
	{Name: ArmOversampled, Title: "real images, this class repeated", Trained: "real images, this class repeated"},
	{Name: ArmClassic, Title: "classic augmentation", Trained: "real images, mirrored and turned"},
	{Name: ArmGenerated, Title: "generated images", Trained: "real and generated images", Adds: "generated images"},
	{
		Name: ArmBoth, Title: "classic augmentation and generated images", Trained: "real and generated images, mirrored and turned",
		Adds: "generated images, mirrored and turned,",
	},
}

// Arms lists the arms in their order.
func Arms() []Arm { return slices.Clone(arms) }

// ArmNamed describes the arm of that name. Of one that is not known, as a newer
// version may have written, it is the name and nothing else.
func ArmNamed(name string) Arm {
	if i := slices.IndexFunc(arms, func(a Arm) bool { return a.Name == name }); i >= 0 {
		return arms[i]
	}
	return Arm{Name: name, Title: name, Trained: name}
}
