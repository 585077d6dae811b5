"""Attributes that Table E.1-1 does not name, and that are kept although their values are free text or binary.

The profile keeps what the table does not name. This archive does so for
numbers, codes of a fixed repertoire and UIDs alone; of texts and binary values
it keeps those that are told here, which say how an image was made and how it is
shown. All else goes.
"""

from __future__ import annotations

from vna.dicom.dictionary import tag_of

_TEXTS = """
Manufacturer ManufacturerModelName SoftwareVersions
SecondaryCaptureDeviceManufacturer SecondaryCaptureDeviceManufacturerModelName
ApplicationName ApplicationVersion ApplicationManufacturer
CodeValue LongCodeValue CodingSchemeDesignator CodingSchemeVersion CodeMeaning
CodingSchemeName CodingSchemeRegistry CodingSchemeExternalID
AlgorithmName AlgorithmVersion SegmentAlgorithmName SegmentLabel
ConvolutionKernel FilterType ImageFilter ReconstructionMethod
AttenuationCorrectionMethod ScatterCorrectionMethod
SequenceName PulseSequenceName ImagedNucleus TransmitCoilName ReceiveCoilName MultiCoilElementName
MultiCoilConfiguration TransmitCoilManufacturerName ReceiveCoilManufacturerName
ASLTechniqueDescription ASLCrusherDescription ASLBolusCutoffTechnique CardiacFramingType TriggerSourceOrType
AcquisitionMode TypeOfFilters
EnergyWindowName Radiopharmaceutical RadiopharmaceuticalRoute Radionuclide
ContrastBolusRoute InterventionDrugName
CollimatorGridName PhosphorType PlateType DetectorManufacturerName DetectorManufacturerModelName
GridAbsorbingMaterial GridSpacingMaterial DetectorMode ViewName
OpticalPathIdentifier ReferencedOpticalPathIdentifier
RescaleType ModalityLUTType LUTExplanation LUTLabel WindowCenterWidthExplanation
PixelSpacingCalibrationDescription DimensionDescriptionLabel StackID PixelValueMappingExplanation
TransducerData ProcessingFunction
SelectorAttributeName SelectorAttributeKeyword
MIMETypeOfEncapsulatedDocument
"""

_BINARY = """
PixelData FloatPixelData DoubleFloatPixelData ExtendedOffsetTable ExtendedOffsetTableLengths
LUTData GrayLookupTableData
RedPaletteColorLookupTableData GreenPaletteColorLookupTableData BluePaletteColorLookupTableData
AlphaPaletteColorLookupTableData
SegmentedRedPaletteColorLookupTableData SegmentedGreenPaletteColorLookupTableData
SegmentedBluePaletteColorLookupTableData SegmentedAlphaPaletteColorLookupTableData
LargeRedPaletteColorLookupTableData LargeGreenPaletteColorLookupTableData LargeBluePaletteColorLookupTableData
BlendingLookupTableData ICCProfile
SpectroscopyData VectorGridData PointCoordinatesData VectorCoordinateData
TwoDimensionalToThreeDimensionalMapData
"""

_DESCRIPTORS = """
StudyDescription SeriesDescription ProtocolName PerformedProcedureStepDescription RequestedProcedureDescription
ScheduledProcedureStepDescription DerivationDescription AcquisitionDeviceProcessingDescription ContrastBolusAgent
AcquisitionProtocolDescription
"""


def _tags(keywords: str) -> frozenset[str]:
    numbers = {keyword: tag_of(keyword) for keyword in keywords.split()}
    missing = [keyword for keyword, number in numbers.items() if number is None]
    assert not missing, f"no attribute has the keyword {missing}"
    return frozenset(f"{number:08X}" for number in numbers.values())


SAFE_TEXTS = _tags(_TEXTS)
"""Texts that are kept, by tag."""

SAFE_BINARY = _tags(_BINARY)
"""Binary values that are kept, by tag."""

DESCRIPTORS = _tags(_DESCRIPTORS)
"""Of the attributes that the Clean Descriptors Option is about (E.3.4), those that a setting keeps."""

DEVICE_KINDS = frozenset({"00080070", "00081090"})
"""Manufacturer and its model name: kept whatever else they are alike to, and so to be searched by."""

CODES = frozenset({"00080100", "00080102"})
"""Code value and coding scheme designator."""

CODING_SCHEME = "00080102"
TEXTS_OF_A_CODE = frozenset({"00080100", "00080103", "00080104", "00080119"})
_SCHEMES = """
DCM SCT SRT SNM3 99SDM LN UCUM FMA RADLEX RADELEMENT UMLS MSH NCIt BI I9 I10 ICDO3 C4 CD6
ISO3166_1 ISO639_1 ISO639_2 NEU MA MGI PUBCHEM_CID ITIS_TSN UNS POS SDM IBSI RFC5646
"""
PUBLIC_SCHEMES = frozenset(_SCHEMES.split())
"""Coding schemes that are published (PS3.16 8): a site's own may say anything."""
