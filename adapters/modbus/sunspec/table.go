package sunspec

// table is the standard's models as far as this package knows them: the points of each in their order, behind id and
// length, as name:type or name:type*scale. Types are one letter, of one register where nothing else is said:
//
//	u i  unsigned, signed      U I  of 32 bits     Q L  of 64 bits     f  float of 32 bits
//	a A  accumulator of 32 and 64 bits            e  enumeration      B b  bits, 16 and 32
//	x    scale factor: the power of ten            c  count            sN text of N registers     p  nothing
//
// A repeating group stands behind its name.
var table = [...]struct {
	ids    []int
	points string
	group  string
	repeat string
}{
	// Who it is.
	{[]int{1}, `
		Mn:s16 Md:s16 Opt:s8 Vr:s8 SN:s16 DA:u Pad:p`, "", ""},
	// Inverters.
	{[]int{101, 102, 103}, `
		A:u*A_SF AphA:u*A_SF AphB:u*A_SF AphC:u*A_SF A_SF:x PPVphAB:u*V_SF PPVphBC:u*V_SF PPVphCA:u*V_SF
		PhVphA:u*V_SF PhVphB:u*V_SF PhVphC:u*V_SF V_SF:x W:i*W_SF W_SF:x Hz:u*Hz_SF Hz_SF:x VA:i*VA_SF VA_SF:x
		VAr:i*VAr_SF VAr_SF:x PF:i*PF_SF PF_SF:x WH:a*WH_SF WH_SF:x DCA:u*DCA_SF DCA_SF:x DCV:u*DCV_SF DCV_SF:x
		DCW:i*DCW_SF DCW_SF:x TmpCab:i*Tmp_SF TmpSnk:i*Tmp_SF TmpTrns:i*Tmp_SF TmpOt:i*Tmp_SF Tmp_SF:x St:e
		StVnd:e Evt1:b Evt2:b EvtVnd1:b EvtVnd2:b EvtVnd3:b EvtVnd4:b`, "", ""},
	// Inverters, in floats.
	{[]int{111, 112, 113}, `
		A:f AphA:f AphB:f AphC:f PPVphAB:f PPVphBC:f PPVphCA:f PhVphA:f PhVphB:f PhVphC:f W:f Hz:f VA:f VAr:f PF:f
		WH:f DCA:f DCV:f DCW:f TmpCab:f TmpSnk:f TmpTrns:f TmpOt:f St:e StVnd:e Evt1:b Evt2:b EvtVnd1:b EvtVnd2:b
		EvtVnd3:b EvtVnd4:b`, "", ""},
	// Nameplate.
	{[]int{120}, `
		DERTyp:e WRtg:u*WRtg_SF WRtg_SF:x VARtg:u*VARtg_SF VARtg_SF:x VArRtgQ1:i*VArRtg_SF VArRtgQ2:i*VArRtg_SF
		VArRtgQ3:i*VArRtg_SF VArRtgQ4:i*VArRtg_SF VArRtg_SF:x ARtg:u*ARtg_SF ARtg_SF:x PFRtgQ1:i*PFRtg_SF
		PFRtgQ2:i*PFRtg_SF PFRtgQ3:i*PFRtg_SF PFRtgQ4:i*PFRtg_SF PFRtg_SF:x WHRtg:u*WHRtg_SF WHRtg_SF:x
		AhrRtg:u*AhrRtg_SF AhrRtg_SF:x MaxChaRte:u*MaxChaRte_SF MaxChaRte_SF:x MaxDisChaRte:u*MaxDisChaRte_SF
		MaxDisChaRte_SF:x Pad:p`, "", ""},
	// Basic settings.
	{[]int{121}, `
		WMax:u*WMax_SF VRef:u*VRef_SF VRefOfs:i*VRefOfs_SF VMax:u*VMinMax_SF VMin:u*VMinMax_SF VAMax:u*VAMax_SF
		VArMaxQ1:i*VArMax_SF VArMaxQ2:i*VArMax_SF VArMaxQ3:i*VArMax_SF VArMaxQ4:i*VArMax_SF WGra:u*WGra_SF
		PFMinQ1:i*PFMin_SF PFMinQ2:i*PFMin_SF PFMinQ3:i*PFMin_SF PFMinQ4:i*PFMin_SF VArAct:e ClcTotVA:e
		MaxRmpRte:u*MaxRmpRte_SF ECPNomHz:u*ECPNomHz_SF ConnPh:e WMax_SF:x VRef_SF:x VRefOfs_SF:x VMinMax_SF:x
		VAMax_SF:x VArMax_SF:x WGra_SF:x PFMin_SF:x MaxRmpRte_SF:x ECPNomHz_SF:x`, "", ""},
	// Status.
	{[]int{122}, `
		PVConn:B StorConn:B ECPConn:B ActWh:A ActVAh:A ActVArhQ1:A ActVArhQ2:A ActVArhQ3:A ActVArhQ4:A
		VArAval:i*VArAval_SF VArAval_SF:x WAval:u*WAval_SF WAval_SF:x StSetLimMsk:b StActCtl:b TmSrc:s4 Tms:U
		RtSt:B Ris:u*Ris_SF Ris_SF:x`, "", ""},
	// Immediate controls.
	{[]int{123}, `
		Conn_WinTms:u Conn_RvrtTms:u Conn:e WMaxLimPct:u*WMaxLimPct_SF WMaxLimPct_WinTms:u WMaxLimPct_RvrtTms:u
		WMaxLimPct_RmpTms:u WMaxLim_Ena:e OutPFSet:i*OutPFSet_SF OutPFSet_WinTms:u OutPFSet_RvrtTms:u
		OutPFSet_RmpTms:u OutPFSet_Ena:e VArWMaxPct:i*VArPct_SF VArMaxPct:i*VArPct_SF VArAvalPct:i*VArPct_SF
		VArPct_WinTms:u VArPct_RvrtTms:u VArPct_RmpTms:u VArPct_Mod:e VArPct_Ena:e WMaxLimPct_SF:x OutPFSet_SF:x
		VArPct_SF:x`, "", ""},
	// Storage.
	{[]int{124}, `
		WChaMax:u*WChaMax_SF WChaGra:u*WChaDisChaGra_SF WDisChaGra:u*WChaDisChaGra_SF StorCtl_Mod:B
		VAChaMax:u*VAChaMax_SF MinRsvPct:u*MinRsvPct_SF ChaState:u*ChaState_SF StorAval:u*StorAval_SF
		InBatV:u*InBatV_SF ChaSt:e OutWRte:i*InOutWRte_SF InWRte:i*InOutWRte_SF InOutWRte_WinTms:u
		InOutWRte_RvrtTms:u InOutWRte_RmpTms:u ChaGriSet:e WChaMax_SF:x WChaDisChaGra_SF:x VAChaMax_SF:x
		MinRsvPct_SF:x ChaState_SF:x StorAval_SF:x InBatV_SF:x InOutWRte_SF:x`, "", ""},
	// Inputs of several trackers.
	{[]int{160}, `
		DCA_SF:x DCV_SF:x DCW_SF:x DCWH_SF:x Evt:b N:c TmsPer:u`, "module", `
		ID:u IDStr:s8 DCA:u*DCA_SF DCV:u*DCV_SF DCW:u*DCW_SF DCWH:a*DCWH_SF Tms:U Tmp:i DCSt:e DCEvt:b`},
	// Meters of one phase.
	{[]int{201}, `
		A:i*A_SF AphA:i*A_SF AphB:i*A_SF AphC:i*A_SF A_SF:x PhV:i*V_SF PhVphA:i*V_SF PhVphB:i*V_SF PhVphC:i*V_SF
		PPV:i*V_SF PPVphAB:i*V_SF PPVphBC:i*V_SF PPVphCA:i*V_SF V_SF:x Hz:i*Hz_SF Hz_SF:x W:i*W_SF WphA:i*W_SF
		WphB:i*W_SF WphC:i*W_SF W_SF:x VA:i*VA_SF VAphA:i*VA_SF VAphB:i*VA_SF VAphC:i*VA_SF VA_SF:x VAR:i*VAR_SF
		VARphA:i*VAR_SF VARphB:i*VAR_SF VARphC:i*VAR_SF VAR_SF:x PF:i*PF_SF PFphA:i*PF_SF PFphB:i*PF_SF
		PFphC:i*PF_SF PF_SF:x TotWhExp:a*TotWh_SF TotWhExpPhA:a*TotWh_SF TotWhExpPhB:a*TotWh_SF
		TotWhExpPhC:a*TotWh_SF TotWhImp:a*TotWh_SF TotWhImpPhA:a*TotWh_SF TotWhImpPhB:a*TotWh_SF
		TotWhImpPhC:a*TotWh_SF TotWh_SF:x TotVAhExp:a*TotVAh_SF TotVAhExpPhA:a*TotVAh_SF TotVAhExpPhB:a*TotVAh_SF
		TotVAhExpPhC:a*TotVAh_SF TotVAhImp:a*TotVAh_SF TotVAhImpPhA:a*TotVAh_SF TotVAhImpPhB:a*TotVAh_SF
		TotVAhImpPhC:a*TotVAh_SF TotVAh_SF:x TotVArhImpQ1:a*TotVArh_SF TotVArhImpQ1PhA:a*TotVArh_SF
		TotVArhImpQ1PhB:a*TotVArh_SF TotVArhImpQ1PhC:a*TotVArh_SF TotVArhImpQ2:a*TotVArh_SF
		TotVArhImpQ2PhA:a*TotVArh_SF TotVArhImpQ2PhB:a*TotVArh_SF TotVArhImpQ2PhC:a*TotVArh_SF
		TotVArhExpQ3:a*TotVArh_SF TotVArhExpQ3PhA:a*TotVArh_SF TotVArhExpQ3PhB:a*TotVArh_SF
		TotVArhExpQ3PhC:a*TotVArh_SF TotVArhExpQ4:a*TotVArh_SF TotVArhExpQ4PhA:a*TotVArh_SF
		TotVArhExpQ4PhB:a*TotVArh_SF TotVArhExpQ4PhC:a*TotVArh_SF TotVArh_SF:x Evt:b`, "", ""},
	// Meters of two and three.
	{[]int{202, 203, 204}, `
		A:i*A_SF AphA:i*A_SF AphB:i*A_SF AphC:i*A_SF A_SF:x PhV:i*V_SF PhVphA:i*V_SF PhVphB:i*V_SF PhVphC:i*V_SF
		PPV:i*V_SF PhVphAB:i*V_SF PhVphBC:i*V_SF PhVphCA:i*V_SF V_SF:x Hz:i*Hz_SF Hz_SF:x W:i*W_SF WphA:i*W_SF
		WphB:i*W_SF WphC:i*W_SF W_SF:x VA:i*VA_SF VAphA:i*VA_SF VAphB:i*VA_SF VAphC:i*VA_SF VA_SF:x VAR:i*VAR_SF
		VARphA:i*VAR_SF VARphB:i*VAR_SF VARphC:i*VAR_SF VAR_SF:x PF:i*PF_SF PFphA:i*PF_SF PFphB:i*PF_SF
		PFphC:i*PF_SF PF_SF:x TotWhExp:a*TotWh_SF TotWhExpPhA:a*TotWh_SF TotWhExpPhB:a*TotWh_SF
		TotWhExpPhC:a*TotWh_SF TotWhImp:a*TotWh_SF TotWhImpPhA:a*TotWh_SF TotWhImpPhB:a*TotWh_SF
		TotWhImpPhC:a*TotWh_SF TotWh_SF:x TotVAhExp:a*TotVAh_SF TotVAhExpPhA:a*TotVAh_SF TotVAhExpPhB:a*TotVAh_SF
		TotVAhExpPhC:a*TotVAh_SF TotVAhImp:a*TotVAh_SF TotVAhImpPhA:a*TotVAh_SF TotVAhImpPhB:a*TotVAh_SF
		TotVAhImpPhC:a*TotVAh_SF TotVAh_SF:x TotVArhImpQ1:a*TotVArh_SF TotVArhImpQ1PhA:a*TotVArh_SF
		TotVArhImpQ1PhB:a*TotVArh_SF TotVArhImpQ1PhC:a*TotVArh_SF TotVArhImpQ2:a*TotVArh_SF
		TotVArhImpQ2PhA:a*TotVArh_SF TotVArhImpQ2PhB:a*TotVArh_SF TotVArhImpQ2PhC:a*TotVArh_SF
		TotVArhExpQ3:a*TotVArh_SF TotVArhExpQ3PhA:a*TotVArh_SF TotVArhExpQ3PhB:a*TotVArh_SF
		TotVArhExpQ3PhC:a*TotVArh_SF TotVArhExpQ4:a*TotVArh_SF TotVArhExpQ4PhA:a*TotVArh_SF
		TotVArhExpQ4PhB:a*TotVArh_SF TotVArhExpQ4PhC:a*TotVArh_SF TotVArh_SF:x Evt:b`, "", ""},
	// Meters, in floats.
	{[]int{211, 212, 213, 214}, `
		A:f AphA:f AphB:f AphC:f PhV:f PhVphA:f PhVphB:f PhVphC:f PPV:f PPVphAB:f PPVphBC:f PPVphCA:f Hz:f W:f
		WphA:f WphB:f WphC:f VA:f VAphA:f VAphB:f VAphC:f VAR:f VARphA:f VARphB:f VARphC:f PF:f PFphA:f PFphB:f
		PFphC:f TotWhExp:f TotWhExpPhA:f TotWhExpPhB:f TotWhExpPhC:f TotWhImp:f TotWhImpPhA:f TotWhImpPhB:f
		TotWhImpPhC:f TotVAhExp:f TotVAhExpPhA:f TotVAhExpPhB:f TotVAhExpPhC:f TotVAhImp:f TotVAhImpPhA:f
		TotVAhImpPhB:f TotVAhImpPhC:f TotVArhImpQ1:f TotVArhImpQ1phA:f TotVArhImpQ1phB:f TotVArhImpQ1phC:f
		TotVArhImpQ2:f TotVArhImpQ2phA:f TotVArhImpQ2phB:f TotVArhImpQ2phC:f TotVArhExpQ3:f TotVArhExpQ3phA:f
		TotVArhExpQ3phB:f TotVArhExpQ3phC:f TotVArhExpQ4:f TotVArhExpQ4phA:f TotVArhExpQ4phB:f TotVArhExpQ4phC:f
		Evt:b`, "", ""},
	// AC of a distributed resource.
	{[]int{701}, `
		ACType:e St:e InvSt:e ConnSt:e Alrm:b DERMode:b W:i*W_SF VA:i*VA_SF Var:i*Var_SF PF:i*PF_SF A:i*A_SF
		LLV:u*V_SF LNV:u*V_SF Hz:U*Hz_SF TotWhInj:Q*TotWh_SF TotWhAbs:Q*TotWh_SF TotVarhInj:Q*TotVarh_SF
		TotVarhAbs:Q*TotVarh_SF TmpAmb:i*Tmp_SF TmpCab:i*Tmp_SF TmpSnk:i*Tmp_SF TmpTrns:i*Tmp_SF TmpSw:i*Tmp_SF
		TmpOt:i*Tmp_SF WL1:i*W_SF VAL1:i*VA_SF VarL1:i*Var_SF PFL1:i*PF_SF AL1:i*A_SF VL1L2:u*V_SF VL1:u*V_SF
		TotWhInjL1:Q*TotWh_SF TotWhAbsL1:Q*TotWh_SF TotVarhInjL1:Q*TotVarh_SF TotVarhAbsL1:Q*TotVarh_SF WL2:i*W_SF
		VAL2:i*VA_SF VarL2:i*Var_SF PFL2:i*PF_SF AL2:i*A_SF VL2L3:u*V_SF VL2:u*V_SF TotWhInjL2:Q*TotWh_SF
		TotWhAbsL2:Q*TotWh_SF TotVarhInjL2:Q*TotVarh_SF TotVarhAbsL2:Q*TotVarh_SF WL3:i*W_SF VAL3:i*VA_SF
		VarL3:i*Var_SF PFL3:i*PF_SF AL3:i*A_SF VL3L1:u*V_SF VL3:u*V_SF TotWhInjL3:Q*TotWh_SF TotWhAbsL3:Q*TotWh_SF
		TotVarhInjL3:Q*TotVarh_SF TotVarhAbsL3:Q*TotVarh_SF ThrotPct:u ThrotSrc:b A_SF:x V_SF:x Hz_SF:x W_SF:x
		PF_SF:x VA_SF:x Var_SF:x TotWh_SF:x TotVarh_SF:x Tmp_SF:x MnAlrmInfo:s32`, "", ""},
	// Its capacity.
	{[]int{702}, `
		WMaxRtg:u*W_SF WOvrExtRtg:u*W_SF WOvrExtRtgPF:u*PF_SF WUndExtRtg:u*W_SF WUndExtRtgPF:u*PF_SF
		VAMaxRtg:u*VA_SF VarMaxInjRtg:u*Var_SF VarMaxAbsRtg:u*Var_SF WChaRteMaxRtg:u*W_SF WDisChaRteMaxRtg:u*W_SF
		VAChaRteMaxRtg:u*VA_SF VADisChaRteMaxRtg:u*VA_SF VNomRtg:u*V_SF VMaxRtg:u*V_SF VMinRtg:u*V_SF
		AMaxRtg:u*A_SF PFOvrExtRtg:u*PF_SF PFUndExtRtg:u*PF_SF ReactSusceptRtg:u*S_SF NorOpCatRtg:e AbnOpCatRtg:e
		CtrlModes:b IntIslandCatRtg:B WMax:u*W_SF WMaxOvrExt:u*W_SF WOvrExtPF:u*PF_SF WMaxUndExt:u*W_SF
		WUndExtPF:u*PF_SF VAMax:u*VA_SF VarMaxInj:u*Var_SF VarMaxAbs:u*Var_SF WChaRteMax:u*W_SF
		WDisChaRteMax:u*W_SF VAChaRteMax:u*VA_SF VADisChaRteMax:u*VA_SF VNom:u*V_SF VMax:u*V_SF VMin:u*V_SF
		AMax:u*A_SF PFOvrExt:u*PF_SF PFUndExt:u*PF_SF IntIslandCat:B W_SF:x PF_SF:x VA_SF:x Var_SF:x V_SF:x A_SF:x
		S_SF:x`, "", ""},
	// Its storage.
	{[]int{713}, `
		WHRtg:u*WH_SF WHAvail:u*WH_SF SoC:u*Pct_SF SoH:u*Pct_SF Sta:e WH_SF:x Pct_SF:x`, "", ""},
	// Its DC.
	{[]int{714}, `
		PrtAlrms:b NPrt:u DCA:i*DCA_SF DCW:i*DCW_SF DCWhInj:Q*DCWH_SF DCWhAbs:Q*DCWH_SF DCA_SF:x DCV_SF:x DCW_SF:x
		DCWH_SF:x Tmp_SF:x`, "Prt", `
		PrtTyp:e ID:u IDStr:s8 DCA:i*DCA_SF DCV:u*DCV_SF DCW:i*DCW_SF DCWhInj:Q*DCWH_SF DCWhAbs:Q*DCWH_SF
		Tmp:i*Tmp_SF DCSta:e DCAlrm:b`},
	// A battery.
	{[]int{802}, `
		AHRtg:u*AHRtg_SF WHRtg:u*WHRtg_SF WChaRteMax:u*WChaDisChaMax_SF WDisChaRteMax:u*WChaDisChaMax_SF
		DisChaRte:u*DisChaRte_SF SoCMax:u*SoC_SF SoCMin:u*SoC_SF SocRsvMax:u*SoC_SF SoCRsvMin:u*SoC_SF
		SoC:u*SoC_SF DoD:u*DoD_SF SoH:u*SoH_SF NCyc:U ChaSt:e LocRemCtl:e Hb:u CtrlHb:u AlmRst:u Typ:e State:e
		StateVnd:e WarrDt:U Evt1:b Evt2:b EvtVnd1:b EvtVnd2:b V:u*V_SF VMax:u*V_SF VMin:u*V_SF CellVMax:u*CellV_SF
		CellVMaxStr:u CellVMaxMod:u CellVMin:u*CellV_SF CellVMinStr:u CellVMinMod:u CellVAvg:u*CellV_SF A:i*A_SF
		AChaMax:u*AMax_SF ADisChaMax:u*AMax_SF W:i*W_SF ReqInvState:e ReqW:i*W_SF SetOp:e SetInvState:e AHRtg_SF:x
		WHRtg_SF:x WChaDisChaMax_SF:x DisChaRte_SF:x SoC_SF:x DoD_SF:x SoH_SF:x V_SF:x CellV_SF:x A_SF:x AMax_SF:x
		W_SF:x`, "", ""},
	// A bank of lithium-ion strings.
	{[]int{803}, `
		NStr:u NStrCon:u ModTmpMax:i*ModTmp_SF ModTmpMaxStr:u ModTmpMaxMod:u ModTmpMin:i*ModTmp_SF ModTmpMinStr:u
		ModTmpMinMod:u ModTmpAvg:i*ModTmp_SF StrVMax:u*V_SF StrVMaxStr:u StrVMin:u*V_SF StrVMinStr:u
		StrVAvg:u*V_SF StrAMax:i*A_SF StrAMaxStr:u StrAMin:i*A_SF StrAMinStr:u StrAAvg:i*A_SF NCellBal:u
		CellV_SF:x ModTmp_SF:x A_SF:x SoH_SF:x SoC_SF:x V_SF:x`, "string", `
		StrNMod:u StrSt:b StrConFail:e StrSoC:u*SoC_SF StrSoH:u*SoH_SF StrA:i*A_SF StrCellVMax:u*CellV_SF
		StrCellVMaxMod:u StrCellVMin:u*CellV_SF StrCellVMinMod:u StrCellVAvg:u*CellV_SF StrModTmpMax:i*ModTmp_SF
		StrModTmpMaxMod:u StrModTmpMin:i*ModTmp_SF StrModTmpMinMod:u StrModTmpAvg:i*ModTmp_SF StrDisRsn:e
		StrConSt:b StrEvt1:b StrEvt2:b StrEvtVnd1:b StrEvtVnd2:b StrSetEna:e StrSetCon:e Pad1:p Pad2:p`},
}
