//! The triangles of every pattern of a 2×2×2 neighbourhood.
//!
//! Bit 4 z + 2 y + x of a pattern is voxel (z, y, x) of the neighbourhood. A triangle is three
//! letters, each a vertex of [`VERTICES`], counter-clockwise seen from outside. Voxels that
//! share an edge or a corner across a face are joined there; the two voxels of a long diagonal
//! are not. The choice of triangles where there is one is that of the tables of Lewiner et al.
//! at a level half way between background and object, recorded pattern by pattern from
//! `skimage.measure.marching_cubes` of scikit-image 0.26 on arrays of 2×2×2 voxels.

/// Vertices `a` to `m` in half voxels from the first voxel of the neighbourhood: the midpoints
/// of its edges, and as `g` its middle.
pub(super) const VERTICES: [[u8; 3]; 13] = [
    [0, 0, 1],
    [0, 1, 0],
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 0],
    [1, 0, 2],
    [1, 1, 1],
    [1, 2, 0],
    [1, 2, 2],
    [2, 0, 1],
    [2, 1, 0],
    [2, 1, 2],
    [2, 2, 1],
];

/// Triangles of each pattern.
#[rustfmt::skip]
pub(super) const TRIANGLES: [&str; 256] = [
    "", "aeb", "acf", "ceb fec", "bhd", "ahd eha", "hab hfa hdc fhc", "chd cfh feh", "cdi",
    "ibd ieb ica eia", "fdi adf", "deb die ife", "bic hib", "aic aei ehi", "bfa bhf hif",
    "fei ieh", "jke", "jba kbj", "kfj kcf kea cka", "jcf jkc kbc", "dkh djk dbe jde",
    "hjk hdj daj", "ekh kej fje afe fac bca cbd hdb ehb", "jkh fjh fhd fdc", "cdi ejk",
    "jca cji kij ikd bdk", "dea edk ikd kij fji", "dif dfk dkb kfj", "bec jce cji kij ikh",
    "chi cjh caj khj", "abe hjk jhf ifh", "jkh jhf fhi", "flj", "bje blj baf lbf", "alj cla",
    "elj ebl bcl", "flj dbh", "afd ldf dlh jhl hje", "ldc dlh jhl hjb abj", "dcl dle deh jel",
    "jil jdi jfc djc", "fje jfl ilf cif icd adc dab eba fea", "ldi ljd jad", "dil bdl blj bje",
    "bfc fbj hjb jhl ilh", "caf elj lei hie", "lja lah lhi hab", "lje lei ieh", "fke lkf",
    "fba flb lkb", "ake ack clk", "clb blk", "khl dlh ldf bfd fbe", "flk fkd fda dkh",
    "eab chd hck lkc", "hdc hck kcl", "kil ikd edk dec fce", "caf dib lbi blk", "ead edl elk ild",
    "dil dlb blk", "kil ikh fce bec", "kgl kfg fka hak ahc gch hig gil fcg",
    "kgl gel ale lai bia ibg ghi khg gbe", "hil khl", "kmh", "mek mae mhb amb", "acf hkm",
    "chb hcm fmc mfk ekf", "kdb mdk", "kae kma mda", "kab akf mfk fmc dcm", "cmd cem cfe ekm",
    "kdh kcd kmi cki", "hmi mhk ekh beh eba dab adc icd hid", "dha kah akf mfk fmi",
    "bdh ikm kie fei", "ikm ick cbk", "ikm cki cek cae", "abk aki aif mik", "kmi kie eif",
    "mej hem", "bmh bam ajm", "mfj fmc hcm cha eah", "fjm fmb fbc hbm", "edb ejd jmd", "ajd jmd",
    "abe cfd jdf djm", "cfj cjd djm", "mij cji jce dec edh", "hbd aic iam jma", "eah dha mfj fmi",
    "mgj ghj bjh jbf dfb fdg gif mig gdh", "ecb emc ejm mic", "ica iam maj",
    "mgj meg emb ibm bia gai ifg gfj eag", "ifj mij", "hlm hfl hkj fhj",
    "hbe aeb eaf efj ljf jlk mkl kmh khe", "lmc hcm cha kah akj", "kje mhl blh lbc",
    "kjb fbj bfd ldf dlm", "ekj mfl fma dam", "ldc dlm abj kjb",
    "dgm dkg kde ced ecj gjc clg glm kjg", "fci dic idh ihm kmh mkl jlk ljf lfi",
    "kje hbd caf lmi", "ilm jhk hjd adj", "hbd ekj ilm", "lmi jfk ckf kcb", "fca ilm ekj",
    "agj alg lai bia ibm gmb bkg gkj lmg", "mil ekj", "mfl mhf hef", "bmh amb alm afl",
    "ahe alh acl lmh", "mhb mbl lbc", "lef lde lmd bed", "flm fma amd",
    "dgm gbm emb mel ale lag gcl dcg gab", "clm dcm", "ilm cdf hfd fhe", "lmi bdh caf",
    "dga gia lai ale mel emg ghe dhg gmi", "hbd lmi", "bgc big ibm emb mel gle efg gfc ilg",
    "caf mil", "bea mil", "ilm", "iml", "aeb lim", "mci mac fam fml", "cib mbi bme lem elf",
    "lhm lbh lid bld", "aid ial ela lem hme", "ilf lim hmi dhi hdb cbd bca fac ifc",
    "dci fml mfh ehf", "cml dmc", "mbd bme lem ela cal", "fml fam adm", "lfe led ldm bde",
    "mbh mlb lcb", "aeh ahl alc lhm", "bhm abm aml alf", "mlf mfh hfe", "emk eim ejl iel",
    "jla ial aib mbi bmk", "eaf cfa fci fil mli lmj kjm jke jef", "fjl kim ikc bck",
    "idh bhd hbe hek jke kjm lmj mli mih", "mkh lij dji jda", "mkh idc abe jlf", "idc hmk fjl",
    "mkd edk dec jce cjl", "bdk mkd jca cjl", "jlf kem ame mad",
    "bgk bjg jbf dfb fdl gld dmg gmk jlg", "hmk lej elb cbl",
    "cgl cmg mch ahc hak gka ajg gjl mkg", "eab fjl hmk", "lfj hmk", "ijf mji",
    "jem bme mbi aib iaf", "iac ima mja", "ebc ecm emj mci", "jhm hjb fbj bfd idf",
    "iaf aid jem hme", "dci bha mah amj", "jgm jig ijc ecj ced gde ehg ghm idg", "cjf cdj dmj",
    "fca deb edj mjd", "adj jdm", "ebd edj jdm", "fmj fbm fcb hmb",
    "jgm gfm cmf mch ahc hag geh jeg gaf", "bhm bma amj", "mje hme", "kim kei efi",
    "akb aik afi mki", "imk cik cke cea", "imk ikc ckb", "hmk dbi eib ief",
    "agd ahg hak fka kfm gmf fig gid hmg", "mkh abe dci", "dci khm", "cdm cme cef emk",
    "bgk gak fka kfm cmf mcg gdm bdg gca", "kea kam mad", "kbd mkd",
    "bgc ghc mch cmf kfm fkg gef beg gkh", "fca mkh", "eab mkh", "khm", "hli klh",
    "lek ela ial aib hbi", "lfk akf kah cha hci", "lfk ekf hci chb", "dli dbl bkl",
    "eda eld ekl idl", "idc bfa fbl klb", "lgk gik dki kde ced ecg gfe lfg gci", "hcd hkc klc",
    "bdh aec kce ckl", "fkl fdk fad dhk", "lgk lhg hld fdl dfb gbf feg gek hbg", "cbl bkl",
    "aek akc ckl", "fab fbl lbk", "fek lfk", "lej lie ihe", "laj lha lih hba", "fjl ace iec eih",
    "cgb gfb jbf bjh lhj hlg gih cig glf", "dli bld bjl bej", "lid ldj jda", "jlf dci abe",
    "idc jlf", "dlc del dhe jle", "cgl gdl hld lhj bjh jbg gaj cag gbd",
    "dga dfg fdl hld lhj gjh heg gea fjg", "jlf hbd", "ejl elb blc", "ajl cal", "jlf bea", "fjl",
    "jhk jfh fih", "ekj bah fha hfi", "cih chj cja kjh", "cgb ceg ecj ijc jik gki ihg ghb ekg",
    "dfi dkf dbk kjf", "agd ged kde dki jik ijg gfi afg gje",
    "agj gcj ijc jik dki kdg gbk abg gdc", "idc kje", "jhk fhj fdh fcd", "kje caf bdh",
    "hkj hjd dja", "kje dhb", "jfc jck kcb", "fca kje", "jab kjb", "jek", "fie ihe",
    "baf bfh hfi", "aci aie eih", "bci hbi", "dbe dei ief", "fid afd", "bea idc", "cid",
    "cdh chf fhe", "afc hbd", "adh eah", "bdh", "cbe fce", "afc", "abe", "",
];
