"""The structure of an audit message, as PS3.15 A.5.1 has it, in the XML syntax of RELAX NG."""

from __future__ import annotations

from lxml import etree

_CODED = """
  <attribute name="csd-code"><data type="token"/></attribute>
  <attribute name="codeSystemName"><data type="token"/></attribute>
  <optional><attribute name="displayName"><data type="token"/></attribute></optional>
  <attribute name="originalText"><data type="token"/></attribute>"""


def _choice(*values: object) -> str:
    return "<choice>" + "".join(f'<value type="token">{value}</value>' for value in values) + "</choice>"


def _optional(name: str, content: str) -> str:
    return f'<optional><attribute name="{name}">{content}</attribute></optional>'


_TOKEN = '<data type="token"/>'
_SCHEMA = f"""
<grammar xmlns="http://relaxng.org/ns/structure/1.0" datatypeLibrary="http://www.w3.org/2001/XMLSchema-datatypes">
<define name="coded">{_CODED}</define>
<start><element name="AuditMessage">
  <element name="EventIdentification">
    {_optional("EventActionCode", _choice("C", "R", "U", "D", "E"))}
    <attribute name="EventDateTime"><data type="dateTime"/></attribute>
    <attribute name="EventOutcomeIndicator">{_choice(0, 4, 8, 12)}</attribute>
    <element name="EventID"><ref name="coded"/></element>
    <zeroOrMore><element name="EventTypeCode"><ref name="coded"/></element></zeroOrMore>
    <optional><element name="EventOutcomeDescription"><text/></element></optional>
  </element>
  <oneOrMore><element name="ActiveParticipant">
    <attribute name="UserID"/>
    {_optional("AlternativeUserID", "<text/>")}
    {_optional("UserName", "<text/>")}
    <attribute name="UserIsRequestor"><data type="boolean"/></attribute>
    {_optional("NetworkAccessPointID", _TOKEN)}
    {_optional("NetworkAccessPointTypeCode", _choice(1, 2, 3, 4, 5))}
    <zeroOrMore><element name="RoleIDCode"><ref name="coded"/></element></zeroOrMore>
    <optional><element name="MediaIdentifier">
      <element name="MediaType"><ref name="coded"/></element>
    </element></optional>
  </element></oneOrMore>
  <element name="AuditSourceIdentification">
    {_optional("AuditEnterpriseSiteID", _TOKEN)}
    <attribute name="AuditSourceID">{_TOKEN}</attribute>
    <zeroOrMore><element name="AuditSourceTypeCode">
      <attribute name="csd-code">{_choice(*range(1, 10))}</attribute>
    </element></zeroOrMore>
  </element>
  <zeroOrMore><element name="ParticipantObjectIdentification">
    <attribute name="ParticipantObjectID">{_TOKEN}</attribute>
    {_optional("ParticipantObjectTypeCode", _choice(*range(1, 5)))}
    {_optional("ParticipantObjectTypeCodeRole", _choice(*range(1, 27)))}
    {_optional("ParticipantObjectDataLifeCycle", _choice(*range(1, 16)))}
    {_optional("ParticipantObjectSensitivity", _TOKEN)}
    <element name="ParticipantObjectIDTypeCode"><ref name="coded"/></element>
    <choice>
      <element name="ParticipantObjectName">{_TOKEN}</element>
      <element name="ParticipantObjectQuery"><data type="base64Binary"/></element>
    </choice>
    <zeroOrMore><element name="ParticipantObjectDetail">
      <attribute name="type">{_TOKEN}</attribute>
      <attribute name="value"><data type="base64Binary"/></attribute>
    </element></zeroOrMore>
    <zeroOrMore><element name="ParticipantObjectDescription">
      <zeroOrMore><element name="MPPS"><attribute name="UID">{_TOKEN}</attribute></element></zeroOrMore>
      <zeroOrMore><element name="Accession"><attribute name="Number">{_TOKEN}</attribute></element></zeroOrMore>
      <zeroOrMore><element name="SOPClass">
        {_optional("UID", _TOKEN)}
        <attribute name="NumberOfInstances"><data type="integer"/></attribute>
        <zeroOrMore><element name="Instance"><attribute name="UID">{_TOKEN}</attribute></element></zeroOrMore>
      </element></zeroOrMore>
    </element></zeroOrMore>
  </element></zeroOrMore>
</element></start>
</grammar>"""

_VALIDATOR = etree.RelaxNG(etree.fromstring(_SCHEMA))


def parse_message(data: bytes) -> etree._Element:
    """Return an audit message that fits the schema; an assertion tells where one does not."""
    root = etree.fromstring(data)
    assert _VALIDATOR.validate(root), f"{_VALIDATOR.error_log}\n{data.decode()}"
    return root
